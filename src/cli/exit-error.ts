/** A reason to exit with code 1, in one line. */
export class ExitError extends Error {}
