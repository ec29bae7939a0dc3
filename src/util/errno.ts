import { getSystemErrorMap } from 'node:util';

/** A system error's reason in words and without its path, e.g. `no such file or directory`; any other error's message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return /^E[A-Z0-9]+: (.*?)(?:, [a-z_0-9]+(?: '|$)|$)/s.exec(error.message)?.[1] ?? error.message;
}

/** Makes an error in the form of Node's own of a call's errno, e.g. `EACCES: permission denied, bind`. */
export function systemError(call: string, errno: number): NodeJS.ErrnoException {
  const [code, words] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, `error ${errno}`];
  return Object.assign(new Error(`${code}: ${words}, ${call}`), { code, errno: -errno, syscall: call });
}

/** The code of a system error, e.g. `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
