import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';

/*
 * Names in native memory, each with a NUL after it, so that a system call takes the address of a name without a copy.
 *
 * The arena grows by chunks. A record is the number of its owner (32 bits), the length (8 bits), the bytes and a NUL. A chunk whose
 * records are removed by more than half is compacted: the other records move to the current chunk, and the owners receive their new
 * references. So memory is at most about twice the bytes of all names.
 *
 * Invariant: an address or a view of a name is valid until the next call of `add` or `remove`.
 */

/** Bytes of a chunk; pages that are not yet written cost no memory. */
const CHUNK_BITS = 18;
const CHUNK_BYTES = 1 << CHUNK_BITS;
const HEADER_BYTES = 5;
/** Owner of a removed record. */
const REMOVED = 0xffff_ffff;
/** References have 32 bits. */
const MAX_CHUNKS = 2 ** (32 - CHUNK_BITS);

interface Chunk {
  readonly block: Block;
  readonly bytes: Uint8Array;
  /** bytes of all records, removed ones too */
  used: number;
  /** bytes of records that are not removed */
  live: number;
}

/** Reference to a name in an arena. */
export type NameRef = number;

export class NameArena {
  readonly #moved: (owner: number, to: NameRef) => void;
  readonly #chunks: (Chunk | undefined)[] = [];
  /** indexes in `#chunks` without a chunk */
  readonly #vacant: number[] = [];
  #current = -1;

  /** `moved` is called when the name of an owner has a new reference. */
  constructor(moved: (owner: number, to: NameRef) => void) {
    this.#moved = moved;
  }

  /** bytes of memory that are mapped */
  get bytes(): number {
    return (this.#chunks.length - this.#vacant.length) * CHUNK_BYTES;
  }

  /** Adds a name of 1 to 255 bytes. @throws RangeError where all references are in use */
  add(owner: number, name: Uint8Array): NameRef {
    const size = HEADER_BYTES + name.length + 1;
    const { index, chunk } = this.#chunkFor(size);
    const at = chunk.used;
    chunk.block.view.setUint32(at, owner, true);
    chunk.bytes[at + 4] = name.length;
    chunk.bytes.set(name, at + HEADER_BYTES);
    chunk.bytes[at + size - 1] = 0;
    chunk.used += size;
    chunk.live += size;
    return index * CHUNK_BYTES + at;
  }

  /** Removes a name; others may move. */
  remove(ref: NameRef): void {
    const index = ref >>> CHUNK_BITS;
    const chunk = this.#chunkAt(index);
    const at = ref & (CHUNK_BYTES - 1);
    chunk.block.view.setUint32(at, REMOVED, true);
    chunk.live -= HEADER_BYTES + (chunk.bytes[at + 4] ?? 0) + 1;
    if (index !== this.#current) this.#compact(index, chunk);
  }

  /** Returns the address of a name that ends with a NUL. */
  addressOf(ref: NameRef): number {
    return this.#chunkAt(ref >>> CHUNK_BITS).block.address + (ref & (CHUNK_BYTES - 1)) + HEADER_BYTES;
  }

  /** Returns a view of a name. */
  bytesOf(ref: NameRef): Uint8Array {
    const { bytes } = this.#chunkAt(ref >>> CHUNK_BITS);
    const at = ref & (CHUNK_BYTES - 1);
    return bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + (bytes[at + 4] ?? 0));
  }

  /** Compares a name. */
  equals(ref: NameRef, name: Uint8Array): boolean {
    const { bytes } = this.#chunkAt(ref >>> CHUNK_BITS);
    const at = ref & (CHUNK_BYTES - 1);
    if (bytes[at + 4] !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (bytes[at + HEADER_BYTES + i] !== name[i]) return false;
    return true;
  }

  /** Unmaps all memory. */
  clear(): void {
    for (const chunk of this.#chunks) chunk?.block.free();
    this.#chunks.length = 0;
    this.#vacant.length = 0;
    this.#current = -1;
  }

  #chunkAt(index: number): Chunk {
    const chunk = this.#chunks[index];
    if (chunk === undefined) throw new Error('reference to a removed name');
    return chunk;
  }

  #chunkFor(size: number): { index: number; chunk: Chunk } {
    const index = this.#current;
    const chunk = this.#chunks[index];
    if (chunk !== undefined && chunk.used + size <= CHUNK_BYTES) return { index, chunk };
    const next = this.#addChunk();
    // only now: records that are to move need another current chunk
    if (chunk !== undefined) this.#compact(index, chunk);
    return this.#current === next.index ? next : this.#chunkFor(size);
  }

  #addChunk(): { index: number; chunk: Chunk } {
    const index = this.#vacant.pop() ?? this.#chunks.length;
    if (index >= MAX_CHUNKS) throw new RangeError('too many names');
    const block = allocate(CHUNK_BYTES);
    const bytes = new Uint8Array(libc().bytesAt(block.address, CHUNK_BYTES));
    const chunk = { block, bytes, used: 0, live: 0 };
    this.#chunks[index] = chunk;
    this.#current = index;
    return { index, chunk };
  }

  /** Moves the records of a chunk to the current one where they are less than half of it, and unmaps it. */
  #compact(index: number, chunk: Chunk): void {
    if (chunk.live * 2 >= chunk.used) return;
    for (let at = 0; at < chunk.used;) {
      const length = chunk.bytes[at + 4] ?? 0;
      const owner = chunk.block.view.getUint32(at, true);
      const from = at + HEADER_BYTES;
      if (owner !== REMOVED) this.#moved(owner, this.add(owner, chunk.bytes.subarray(from, from + length)));
      at = from + length + 1;
    }
    chunk.block.free();
    this.#chunks[index] = undefined;
    this.#vacant.push(index);
  }
}
