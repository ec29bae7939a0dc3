/** Values of Linux. */
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_CLOEXEC = 0o2_000_000;
export const SOCK_NONBLOCK = 0o4_000;

/** Longest path of a UNIX socket in `bytes` (unix(7)). */
export const SOCKET_PATH_MAX = 107;

/** @throws with the path where no socket can have it */
export function checkPathLength(path: string): void {
  if (Buffer.byteLength(path) > SOCKET_PATH_MAX)
    throw new Error(`${path}: longer than ${SOCKET_PATH_MAX} bytes`);
}

/** struct sockaddr_un: the family in two bytes, then the path and a zero. */
export function socketAddress(path: string): Buffer {
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, Buffer.from(path), Buffer.alloc(1)]);
}
