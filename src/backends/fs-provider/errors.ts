import { constants } from 'node:os';
import { codeOf } from '../../util/errno.ts';
import type { Errno } from '../fuse/file-system.ts';

/** Numbers of the errors that the guest gets from this folder. */
export const {
  EEXIST,
  EINVAL,
  EIO,
  EISDIR,
  EMFILE,
  ENAMETOOLONG,
  ENODATA,
  ENOMEM,
  ENOENT,
  ENOSYS,
  ENOTCONN,
  ENOTDIR,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  ESTALE,
  EBADF,
} = constants.errno;

/** Codes of Linux that Node has no number for. */
const FURTHER = new Map([['EUCLEAN', 117]]);

/** Numbers by code. */
const NUMBERS: ReadonlyMap<string, number> = new Map([...Object.entries(constants.errno), ...FURTHER]);

/** An error of a file system, by the code of Linux: `throw new FsError('ENOSPC')`. */
export class FsError extends Error {
  override readonly name = 'FsError';
  readonly code: string;

  constructor(code: string, message: string = code, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Returns the number of an error's code; undefined where it has none that Linux knows. */
export function errnoOf(error: unknown): Errno | undefined {
  const code = codeOf(error);
  return code === undefined ? undefined : NUMBERS.get(code);
}
