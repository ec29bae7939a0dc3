import { libc } from '../../native/libc.ts';
import { allocate, type Block, putVector } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';

/**
 * Bytes that the guest sent and the host's program has not read yet: a ring buffer outside of the JavaScript heap.
 * Its size is the credit that the guest gets, so it is never full for a guest that respects its credit.
 */
export class TransmitBuffer {
  readonly #size: number;
  readonly #vectors: Block;
  #ring: Block | undefined;
  #start = 0;
  #length = 0;

  /** `vectors` is space for two `struct iovec`, which all buffers may share. */
  constructor(size: number, vectors: Block) {
    this.#size = size;
    this.#vectors = vectors;
  }

  /** number of bytes in the buffer */
  get length(): number {
    return this.#length;
  }

  /** Adds bytes. @throws where they do not fit: the caller checks the credit first */
  add(address: number, bytes: number): void {
    if (bytes > this.#size - this.#length) throw new RangeError('the buffer is full');
    this.#ring ??= allocate(this.#size);
    const end = (this.#start + this.#length) % this.#size;
    const first = Math.min(bytes, this.#size - end);
    libc().memcpy(this.#ring.address + end, address, first);
    if (first < bytes) libc().memcpy(this.#ring.address, address + first, bytes - first);
    this.#length += bytes;
  }

  /** Writes as many bytes as the socket takes. @returns their number, or the negative errno */
  writeTo(fd: number): number {
    if (this.#ring === undefined || this.#length === 0) return 0;
    const first = Math.min(this.#length, this.#size - this.#start);
    putVector(this.#vectors.view, 0, this.#ring.address + this.#start, first);
    putVector(this.#vectors.view, 1, this.#ring.address, this.#length - first);
    const count = libc().writev(fd, this.#vectors.address, this.#length > first ? 2 : 1);
    if (count < 0) {
      const error = errno();
      return error === EAGAIN ? 0 : -error;
    }
    this.#start = (this.#start + count) % this.#size;
    this.#length -= count;
    if (this.#length === 0) this.free();
    return count;
  }

  free(): void {
    this.#ring?.free();
    this.#ring = undefined;
    this.#start = 0;
    this.#length = 0;
  }
}
