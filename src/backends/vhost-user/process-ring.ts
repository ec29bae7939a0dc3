import { allocate, putVector, VECTOR_BYTES, type Block } from '../../native/memory.ts';
import { DESCRIPTOR_BYTES } from './descriptor-chain.ts';
import type { ProcessMemory } from './process-memory.ts';
import { MemoryError, QueueError } from './queue-error.ts';
import { availableBytes, usedBytes, type RingMemory, type RingPlace } from './ring-memory.ts';

/** Reads after which an index that changes in each of them is a broken rule. */
const ATTEMPTS = 1000;

/** Copy of the ring in this process: the index twice, the available part, the table, and the used part. */
const INDEX_AT = 0;
const AVAILABLE_AT = 4;

/** Bytes of the flags, the index and the first field of the used part, which are written as one unit. */
const USED_HEADER_BYTES = 8;

/**
 * A ring in the memory of another process. One call reads the index, the available part and the descriptor table. The copy holds for all
 * chains up to that index: the guest does not change them until they are used.
 *
 * The kernel copies an index of two bytes in one or two steps, and the guest may change it in between. So each call reads it twice. For
 * both to be equal and wrong, the index must run through almost all of its 65,536 values between them, and a ring has fewer chains.
 *
 * The index of the used part is written with the fields beside it, as 8 bytes. A torn event index does no harm: who changes it looks for
 * new entries afterwards.
 */
export class ProcessRing implements RingMemory {
  readonly descriptors: DataView;
  readonly usedAtStart: number;
  readonly #memory: ProcessMemory;
  readonly #place: RingPlace;
  readonly #copy: Block;
  readonly #copyBytes: number;
  readonly #usedAt: number;
  /** vectors of the parts that are read together, and one for a single number */
  readonly #vectors: Block = allocate(5 * VECTOR_BYTES);
  /** index up to which the copy holds; undefined: it was never read */
  #known: number | undefined;

  constructor(memory: ProcessMemory, place: RingPlace) {
    const { available, descriptors, used, size } = place;
    this.#memory = memory;
    this.#place = place;
    const tableAt = AVAILABLE_AT + availableBytes(size);
    this.#copyBytes = tableAt + size * DESCRIPTOR_BYTES;
    this.#usedAt = Math.ceil(this.#copyBytes / 8) * 8;
    this.#copy = allocate(this.#usedAt + usedBytes(size));
    const { buffer, byteOffset } = this.#copy.view;
    this.descriptors = new DataView(buffer, byteOffset + tableAt, size * DESCRIPTOR_BYTES);
    const { view } = this.#vectors;
    putVector(view, 0, available + 2, 2);
    putVector(view, 1, available + 2, 2);
    putVector(view, 2, available, availableBytes(size));
    putVector(view, 3, descriptors, size * DESCRIPTOR_BYTES);
    try {
      this.#read(this.#usedAt, used, USED_HEADER_BYTES);
      this.usedAtStart = this.#copy.view.getUint16(this.#usedAt + 2, true);
      // chains that were popped before are followed without a look at the index
      this.#refresh();
    } catch (error) {
      this.free();
      throw error;
    }
  }

  available(next: number): number {
    if (this.#known !== undefined && this.#known !== next) return this.#known;
    // the guest must see the index that is asked for before its own is read
    this.#memory.flush();
    return this.#refresh();
  }

  head(entry: number): number {
    return this.#copy.view.getUint16(AVAILABLE_AT + 4 + entry * 2, true);
  }

  putUsed(entry: number, head: number, written: number): void {
    const at = this.#usedAt + 4 + entry * 8;
    this.#copy.view.setUint32(at, head, true);
    this.#copy.view.setUint32(at + 4, written, true);
  }

  publish(from: number, to: number): void {
    const { size } = this.#place;
    const [first, count] = [from & (size - 1), (to - from) & 0xffff];
    const upToEnd = Math.min(count, size - first);
    this.#writeUsed(4 + first * 8, upToEnd * 8);
    if (count > upToEnd) this.#writeUsed(4, (count - upToEnd) * 8);
    this.#copy.view.setUint16(this.#usedAt + 2, to, true);
    this.#writeUsed(0, USED_HEADER_BYTES);
    this.#memory.flush();
  }

  interruptFlags(): number {
    return this.#number(this.#place.available, 1);
  }

  interruptEvent(): number {
    return this.#number(this.#place.available + 4 + this.#place.size * 2, 0);
  }

  setKickEvent(index: number): void {
    const at = 4 + this.#place.size * 8;
    this.#copy.view.setUint16(this.#usedAt + at, index, true);
    this.#writeUsed(at, 2);
    this.#known = undefined;
  }

  setKickFlags(flags: number): void {
    this.#copy.view.setUint16(this.#usedAt, flags, true);
    this.#writeUsed(0, USED_HEADER_BYTES);
    this.#known = undefined;
  }

  free(): void {
    this.#copy.free();
    this.#vectors.free();
  }

  #refresh(): number {
    const { view } = this.#copy;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.#memory.read(this.#copy.address, this.#copyBytes, { vectors: this.#vectors.address, count: 4 });
      const index = view.getUint16(INDEX_AT, true);
      if (index === view.getUint16(INDEX_AT + 2, true)) return (this.#known = index);
    }
    throw new QueueError('the index of the available chains changes all the time');
  }

  #writeUsed(at: number, bytes: number): void {
    this.#memory.write(this.#place.used + at, this.#copy.address + this.#usedAt + at, bytes);
  }

  /** Reads two bytes of the guest, or returns a substitute where that is not possible: the next read of the ring throws the reason. */
  #number(address: number, substitute: number): number {
    try {
      this.#read(INDEX_AT, address, 2);
    } catch (error) {
      if (error instanceof MemoryError) return substitute;
      throw error;
    }
    return this.#copy.view.getUint16(INDEX_AT, true);
  }

  #read(at: number, address: number, bytes: number): void {
    putVector(this.#vectors.view, 4, address, bytes);
    const vectors = this.#vectors.address + 4 * VECTOR_BYTES;
    this.#memory.read(this.#copy.address + at, bytes, { vectors, count: 1 });
  }
}
