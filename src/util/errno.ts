import { getSystemErrorMap } from 'node:util';

/*
 * src/util holds leaf helpers without words of virtualization; they import nothing of the other folders. Errors are here, in
 * `clip.ts` (texts for messages) and `nearest.ts` (suggestions); paths in `open-file.ts`, `path-calls.ts` and `path-deadline.ts`;
 * the log in `log.ts`, `log-waiting.ts` and `rate-limit.ts`; queues in `byte-queue.ts` and `drain.ts`; descriptors in
 * `descriptor-limit.ts` and `free-descriptors.ts`.
 *
 * Invariant: no helper blocks the event loop, and each wait has a deadline or an AbortSignal.
 */

/** Returns the reason of a system error without its code and path, e.g. `no such file or directory`; the message of any other error. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return /^E[A-Z0-9]+: (.*?)(?:, [a-z_0-9]+(?: '|$)|$)/s.exec(error.message)?.[1] ?? error.message;
}

/** Makes an error in the form of Node's own from a call and its errno, e.g. `EACCES: permission denied, bind`. */
export function systemError(call: string, errno: number): NodeJS.ErrnoException {
  const [code, words] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, `error ${errno}`];
  return Object.assign(new Error(`${code}: ${words}, ${call}`), { code, errno: -errno, syscall: call });
}

/** Returns the code of a system error, e.g. `ENOENT`; undefined for any other error. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
