import { libc } from '../../native/libc.ts';
import { allocate, type Block, putVector } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';

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

  /** Adds data of the guest. @throws where it does not fit: the caller checks the credit first */
  add(data: Pick<Parts, 'bytes' | 'copyOut'>): void {
    const { bytes } = data;
    if (bytes > this.#size - this.#length) throw new RangeError('the buffer is full');
    this.#ring ??= allocate(this.#size);
    const end = (this.#start + this.#length) % this.#size;
    const first = Math.min(bytes, this.#size - end);
    if (first > 0) data.copyOut(this.#ring.address + end, first);
    if (first < bytes) data.copyOut(this.#ring.address, bytes - first, first);
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
