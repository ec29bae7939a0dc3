/**
 * Stands between an error and its cause where the cause is for logs and debuggers only: the message already says it in
 * other words, or it would say nothing to a client. Answers to clients end before it.
 */
export class HiddenCause extends Error {
  constructor(cause: unknown) {
    super('caused by', { cause });
    this.name = 'HiddenCause';
  }
}

/** Options of an error whose cause is hidden from clients. */
export function hiddenCause(cause: unknown): ErrorOptions {
  return { cause: new HiddenCause(cause) };
}
