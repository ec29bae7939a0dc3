import { libc } from '../../native/libc.ts';
import { allocate, type Block, putVector } from '../../native/memory.ts';
import type { ProcessMemory } from './process-memory.ts';
import { QueueError } from './queue-error.ts';

/** Most parts of one readv or writev (IOV_MAX). */
export const MAX_PARTS = 1024;

/** Bytes of an entry of a descriptor table. */
export const DESCRIPTOR_BYTES = 16;

/** Bytes that the first `copyOut` reads of another process: most headers with their arguments. */
const AHEAD_BYTES = 512;

/**
 * Buffers in order, as an array of `struct iovec`: at their addresses in this process, or in the process that has the guest's memory.
 * `transfer.ts` reads and writes files and sockets with them.
 */
export class Parts {
  /** process that has the memory of the parts; undefined: it is mapped in this one */
  process: ProcessMemory | undefined;
  readonly #vectors: Block = allocate(MAX_PARTS * 16);
  /** first bytes of the parts, where they are those of another process, and how many of them were skipped */
  #ahead: Block | undefined;
  #aheadBytes = 0;
  #skipped = 0;
  #first = 0;
  #count = 0;
  #bytes = 0;

  /** bytes of all parts */
  get bytes(): number {
    return this.#bytes;
  }

  /** number of parts */
  get count(): number {
    return this.#count - this.#first;
  }

  /** address of the array of `struct iovec` */
  get vectors(): number {
    return this.#vectors.address + this.#first * 16;
  }

  clear(): void {
    this.#first = 0;
    this.#count = 0;
    this.#bytes = 0;
    this.#aheadBytes = 0;
    this.#skipped = 0;
  }

  /** Adds a part. */
  add(address: number, length: number): void {
    if (length === 0) return;
    if (this.#count === MAX_PARTS) throw new QueueError(`chain of more than ${MAX_PARTS} buffers`);
    putVector(this.#vectors.view, this.#count++, address, length);
    this.#bytes += length;
  }

  /** Drops bytes at the start, at most all of them. */
  skip(bytes: number): void {
    let left = Math.min(bytes, this.#bytes);
    this.#bytes -= left;
    this.#skipped += left;
    while (left > 0) {
      const size = this.#lengthAt(this.#first);
      if (left < size) {
        putVector(this.#vectors.view, this.#first, this.#addressAt(this.#first) + left, size - left);
        return;
      }
      left -= size;
      this.#first++;
    }
  }

  /** Moves bytes at the start, at most all of them, to the end of others. */
  move(bytes: number, to: Parts): void {
    to.process = this.process;
    this.each(0, bytes, (address, length) => to.add(address, length));
    this.skip(bytes);
  }

  /** Drops bytes at the end, so that at most so many are left. */
  limit(bytes: number): void {
    while (this.#bytes > bytes) {
      const last = this.#count - 1;
      const size = this.#lengthAt(last);
      const excess = this.#bytes - bytes;
      if (size <= excess) this.#count--;
      else putVector(this.#vectors.view, last, this.#addressAt(last), size - excess);
      this.#bytes -= Math.min(size, excess);
    }
  }

  /** Calls `take` with each part of a range, up to the end of the buffers. */
  each(from: number, bytes: number, take: (address: number, length: number) => void): void {
    let skip = from;
    let left = bytes;
    for (let i = this.#first; i < this.#count && left > 0; i++) {
      const size = this.#lengthAt(i);
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const part = Math.min(size - skip, left);
      take(this.#addressAt(i) + skip, part);
      left -= part;
      skip = 0;
    }
  }

  /** Copies bytes from an offset on to an address of this process. @throws MemoryError */
  copyOut(to: number, bytes: number, from = 0): void {
    if (this.process !== undefined) return this.#copyOutOf(this.process, { to, bytes, from });
    if (this.#isInFirst(from + bytes))
      return void libc().memcpy(to, this.#addressAt(this.#first) + from, bytes);
    let done = 0;
    this.each(from, bytes, (address, length) => {
      libc().memcpy(to + done, address, length);
      done += length;
    });
  }

  /** Copies from an address of this process over the first bytes. */
  copyIn(from: number, bytes: number): void {
    const { process } = this;
    if (process === undefined && this.#isInFirst(bytes))
      return void libc().memcpy(this.#addressAt(this.#first), from, bytes);
    let done = 0;
    this.each(0, bytes, (address, length) => {
      if (process === undefined) libc().memcpy(address, from + done, length);
      else process.write(address, from + done, length);
      done += length;
    });
  }

  #copyOutOf(process: ProcessMemory, { to, bytes, from }: { to: number; bytes: number; from: number }): void {
    const at = this.#skipped + from;
    if (at + bytes <= AHEAD_BYTES) this.#readAhead(process);
    if (at + bytes <= this.#aheadBytes)
      return void libc().memcpy(to, (this.#ahead?.address ?? 0) + at, bytes);
    process.read(to, bytes, rangeOf(this, from, bytes));
  }

  /** Reads the first bytes, once: most chains need no other read. */
  #readAhead(process: ProcessMemory): void {
    if (this.#aheadBytes > 0 || this.#skipped > 0) return;
    const ahead = (this.#ahead ??= allocate(AHEAD_BYTES));
    const bytes = Math.min(AHEAD_BYTES, this.#bytes);
    process.read(ahead.address, bytes, rangeOf(this, 0, bytes));
    this.#aheadBytes = bytes;
  }

  /** Returns whether the first bytes are in one part, as they mostly are. */
  #isInFirst(bytes: number): boolean {
    return this.#first < this.#count && bytes <= this.#lengthAt(this.#first);
  }

  #addressAt(index: number): number {
    const { view } = this.#vectors;
    return view.getUint32(index * 16, true) + view.getUint32(index * 16 + 4, true) * 2 ** 32;
  }

  #lengthAt(index: number): number {
    return this.#vectors.view.getUint32(index * 16 + 8, true);
  }

  free(): void {
    this.#vectors.free();
    this.#ahead?.free();
  }
}

/** An array of `struct iovec`. */
export interface Vectors {
  /** its address */
  readonly vectors: number;
  readonly count: number;
}

/** Vectors of the last range, in each thread. */
let range: Block | undefined;

/** Returns the vectors of a range of parts; they hold until the next call. */
export function rangeOf(parts: Parts, from: number, bytes: number): Vectors {
  if (from === 0 && bytes === parts.bytes) return parts;
  const { address, view } = (range ??= allocate(MAX_PARTS * 16));
  let count = 0;
  parts.each(from, bytes, (start, length) => putVector(view, count++, start, length));
  return { vectors: address, count };
}

/** A chain of descriptors that the guest made available: one request. Reused for the next one. */
export class Chain {
  /** index of its first descriptor, which identifies it in the used ring */
  head = 0;
  /** buffers that the guest filled */
  readonly readable = new Parts();
  /** buffers for the device to fill */
  readonly writable = new Parts();
  /** guest addresses and lengths of all buffers to fill, whatever `writable` skips; allocated with the first one */
  #ranges: Float64Array | undefined;
  #rangeCount = 0;

  /** Empties it, for buffers of a process; undefined: of this one. */
  reset(head: number, process?: ProcessMemory): void {
    this.head = head;
    this.readable.process = process;
    this.writable.process = process;
    this.readable.clear();
    this.writable.clear();
    this.#rangeCount = 0;
  }

  /** Adds the guest addresses of a buffer to fill, for `eachRange`. */
  addRange(address: number, length: number): void {
    // an empty buffer is no part, so there are at most as many ranges as parts
    if (length === 0 || this.#rangeCount === MAX_PARTS) return;
    const ranges = (this.#ranges ??= new Float64Array(MAX_PARTS * 2));
    ranges[this.#rangeCount * 2] = address;
    ranges[this.#rangeCount * 2 + 1] = length;
    this.#rangeCount++;
  }

  /** Calls `take` with the guest addresses of each buffer to fill. */
  eachRange(take: (address: number, length: number) => void): void {
    for (let i = 0; i < this.#rangeCount; i++)
      take(this.#ranges?.[i * 2] ?? 0, this.#ranges?.[i * 2 + 1] ?? 0);
  }

  free(): void {
    this.readable.free();
    this.writable.free();
  }
}
