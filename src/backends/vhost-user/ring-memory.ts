/** Place of a ring in the memory that a back-end uses. */
export interface RingPlace {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  /** entries, a power of two */
  readonly size: number;
}

/** Bytes of the parts of a ring (virtio 1.1, section 2.6). */
export const availableBytes = (size: number): number => 6 + size * 2;
export const usedBytes = (size: number): number => 6 + size * 8;

/** The memory of a split virtqueue, as the device reads and writes it. Entries are those of the ring: index modulo size. */
export interface RingMemory {
  /** descriptor table, which is right for all chains up to the last index that `available` returned */
  readonly descriptors: DataView;
  /** index of the used ring at the start */
  readonly usedAtStart: number;
  /** Returns an index of the available ring behind `next`; `next` where no chain is known to be available. */
  readonly available: (next: number) => number;
  /** Returns the head of an available chain. */
  readonly head: (entry: number) => number;
  readonly putUsed: (entry: number, head: number, written: number) => void;
  /** Shows the guest the used entries from one index to another. */
  readonly publish: (from: number, to: number) => void;
  /** Returns the flags of the guest; with event indices the index of its next interrupt. */
  readonly interruptFlags: () => number;
  readonly interruptEvent: () => number;
  /** Asks for a kick at an index, or by the flags. The next `available` follows it in memory order. */
  readonly setKickEvent: (index: number) => void;
  readonly setKickFlags: (flags: number) => void;
  readonly free: () => void;
}
