/** A file that cannot be unpacked: it is used as it is. */
export class UnpackError extends Error {}

/** A file with more unpacked bytes than the limit. */
export class TooLargeError extends UnpackError {}
