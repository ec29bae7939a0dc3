import { constants } from 'node:os';
import { errno } from '../../native/system-error.ts';
import type { Errno } from '../fuse/file-system.ts';

export const {
  EACCES,
  EBADF,
  EEXIST,
  EINTR,
  EINVAL,
  EIO,
  EISDIR,
  ELOOP,
  EMFILE,
  ENAMETOOLONG,
  ENFILE,
  ENODATA,
  ENOENT,
  ENOMEM,
  ENOSYS,
  ENOTDIR,
  ENOTEMPTY,
  ENOTSUP,
  ENXIO,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  ERANGE,
  EROFS,
  ESTALE,
  EXDEV,
} = constants.errno;

/** Errors that mean that another file, or none, is where an inode was. */
const GONE: ReadonlySet<Errno> = new Set([ENOENT, ENOTDIR, ELOOP]);

/** Returns ESTALE where an error means that an inode is no longer where it was. */
export function staleIfGone(error: Errno): Errno {
  return GONE.has(error) ? ESTALE : error;
}

/** Returns why the last call failed, as a guest sees it: a limit of this process is one of the file system. */
export function lastError(): Errno {
  const error = errno();
  return error === EMFILE ? ENFILE : error;
}

/** Returns 0 or why the last call failed, from its result. */
export function doneOf(result: number): Errno {
  return result < 0 ? lastError() : 0;
}

/** Returns the result of the last call or -errno. */
export function orError(result: number): number {
  return result < 0 ? -lastError() : result;
}
