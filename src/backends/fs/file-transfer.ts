import { libc } from '../../native/libc.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import { haveRead, toRead, toWrite } from '../vhost-user/transfer.ts';
import { EINTR, lastError } from './errors.ts';

/** Part of a file, in bytes. */
interface FileRange {
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
}

/** Reads until the buffers or the range are full or the file ends. @returns the number of bytes, or -errno of the first call */
export function readInto({ fd, offset, length }: FileRange, into: Parts): number {
  return transfer(Math.min(length, into.bytes), (done, left) => {
    const { vectors, count } = toRead(into, done, left);
    const read = libc().preadv(fd, vectors, count, offset + done);
    if (read > 0) haveRead(into, done, read);
    return read;
  });
}

/** Writes until the range is written or a call fails. @returns the number of bytes, or -errno of the first call */
export function writeFrom({ fd, offset, length }: FileRange, from: Parts): number {
  return transfer(Math.min(length, from.bytes), (done, left) => {
    const { vectors, count } = toWrite(from, done, left);
    return libc().pwritev(fd, vectors, count, offset + done);
  });
}

function transfer(bytes: number, call: (done: number, left: number) => number): number {
  let done = 0;
  while (done < bytes) {
    const count = call(done, bytes - done);
    if (count > 0) done += count;
    else if (count === 0) return done;
    else {
      const error = lastError();
      if (error !== EINTR) return done > 0 ? done : -error;
    }
  }
  return done;
}
