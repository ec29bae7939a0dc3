/** A file that cannot be unpacked: it is used as it is. */
export class UnpackError extends Error {}

/** A file that has more unpacked bytes than are allowed. */
export class TooLargeError extends UnpackError {}
