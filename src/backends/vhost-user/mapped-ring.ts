import { viewOf } from '../../native/memory.ts';
import { DESCRIPTOR_BYTES } from './descriptor-chain.ts';
import { availableBytes, usedBytes, type RingMemory, type RingPlace } from './ring-memory.ts';

/** A ring in mapped memory. */
export class MappedRing implements RingMemory {
  readonly descriptors: DataView;
  readonly usedAtStart: number;
  readonly #size: number;
  readonly #available: Uint16Array;
  readonly #used: Uint16Array;
  readonly #usedEntries: DataView;

  constructor({ descriptors, available, used, size }: RingPlace) {
    this.#size = size;
    this.descriptors = viewOf(descriptors, size * DESCRIPTOR_BYTES);
    this.#available = words(viewOf(available, availableBytes(size)));
    this.#usedEntries = viewOf(used, usedBytes(size));
    this.#used = words(this.#usedEntries);
    this.usedAtStart = Atomics.load(this.#used, 1);
  }

  available(): number {
    return Atomics.load(this.#available, 1);
  }

  head(entry: number): number {
    return Atomics.load(this.#available, 2 + entry);
  }

  putUsed(entry: number, head: number, written: number): void {
    const at = 4 + entry * 8;
    this.#usedEntries.setUint32(at, head, true);
    this.#usedEntries.setUint32(at + 4, written, true);
  }

  publish(_from: number, to: number): void {
    Atomics.store(this.#used, 1, to);
  }

  interruptFlags(): number {
    return Atomics.load(this.#available, 0);
  }

  interruptEvent(): number {
    return Atomics.load(this.#available, 2 + this.#size);
  }

  setKickEvent(index: number): void {
    Atomics.store(this.#used, 2 + this.#size * 4, index);
  }

  setKickFlags(flags: number): void {
    Atomics.store(this.#used, 0, flags);
  }

  free(): void {
    // the mapping is that of the guest's memory
  }
}

function words(view: DataView): Uint16Array {
  return new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);
}
