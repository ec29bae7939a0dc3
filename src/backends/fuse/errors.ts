import { constants } from 'node:os';

/** Errors with which the protocol itself answers. */
export const {
  E2BIG,
  EBADF,
  EFBIG,
  EINVAL,
  EIO,
  ENAMETOOLONG,
  ENOENT,
  ENOSYS,
  EOVERFLOW,
  EPROTO,
  ERANGE,
  EROFS,
  ESTALE,
} = constants.errno;

/** Largest number that a reply may have as its error: Linux does not accept others. */
const LARGEST = 511;

/** Converts the number of an error to the result of a request. A number that is none is a fault of the file system: EIO. */
export function failure(errno: number): number {
  return Number.isInteger(errno) && errno > 0 && errno <= LARGEST ? -errno : -EIO;
}
