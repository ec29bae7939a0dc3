import { constants } from 'node:os';
import { systemError } from '../util/errno.ts';
import { libc } from './libc.ts';

/** Values of errno that callers distinguish. */
export const {
  EACCES,
  EAGAIN,
  ECONNREFUSED,
  EINTR,
  EINVAL,
  EMFILE,
  ENAMETOOLONG,
  ENOENT,
  ENOTSOCK,
  EPIPE,
  EPROTOTYPE,
} = constants.errno;

/** Reads errno of the last call that failed in this thread; to be called right after it. */
export function errno(): number {
  return libc().errno();
}

/** Makes an error in the form of Node's own, e.g. `EADDRINUSE: address already in use, bind`, by default of the last call that failed. */
export function callError(call: string, number: number = errno()): NodeJS.ErrnoException {
  return systemError(call, number);
}

/**
 * Returns a call's result.
 * @throws the system's error where the result is negative
 */
export function checked(call: string, result: number): number {
  if (result < 0) throw callError(call);
  return result;
}
