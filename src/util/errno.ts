/** A system error's reason in words and without its path, e.g. `no such file or directory`; any other error's message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return /^E[A-Z0-9]+: (.*?)(?:, [a-z]+(?: '|$)|$)/s.exec(error.message)?.[1] ?? error.message;
}

/** The code of a system error, e.g. `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
