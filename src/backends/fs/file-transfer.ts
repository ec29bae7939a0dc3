import { libc } from '../../native/libc.ts';
import { allocate, type Block, putVector, VECTOR_BYTES } from '../../native/memory.ts';
import { MAX_PARTS, type Parts } from '../vhost-user/descriptor-chain.ts';
import { EINTR, lastError } from './errors.ts';

/** preadv(2) or pwritev(2). */
type VectorCall = (fd: number, vectors: number, count: number, offset: number) => number;

/** Part of a file, in bytes. */
interface FileRange {
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
}

/** Reads and writes files from and into the buffers of a request, without a copy. */
export class FileTransfer {
  readonly #vectors: Block = allocate(MAX_PARTS * VECTOR_BYTES);

  /** Reads until the buffers or the range are full or the file ends. @returns the number of bytes, or -errno of the first call */
  read(range: FileRange, into: Parts): number {
    return this.#transfer(libc().preadv, range, into);
  }

  /** Writes until the range is written or a call fails. @returns the number of bytes, or -errno of the first call */
  write(range: FileRange, from: Parts): number {
    return this.#transfer(libc().pwritev, range, from);
  }

  #transfer(call: VectorCall, { fd, offset, length }: FileRange, parts: Parts): number {
    const whole = Math.min(length, parts.bytes);
    let done = 0;
    while (done < whole) {
      const count =
        done === 0 && whole === parts.bytes
          ? call(fd, parts.vectors, parts.count, offset)
          : this.#callPart(call, { fd, offset: offset + done, length: whole - done }, parts, done);
      if (count > 0) done += count;
      else if (count === 0) return done;
      else {
        const error = lastError();
        if (error !== EINTR) return done > 0 ? done : -error;
      }
    }
    return done;
  }

  /** Calls with a part of the buffers. */
  #callPart(call: VectorCall, { fd, offset, length }: FileRange, parts: Parts, skip: number): number {
    let count = 0;
    parts.each(skip, length, (address, size) => putVector(this.#vectors.view, count++, address, size));
    return call(fd, this.#vectors.address, count, offset);
  }

  free(): void {
    this.#vectors.free();
  }
}
