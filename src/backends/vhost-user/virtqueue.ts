import { allocate, type Block } from '../../native/memory.ts';
import { DESCRIPTOR_BYTES, MAX_PARTS, type Chain } from './descriptor-chain.ts';
import type { DirtyLog } from './dirty-log.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { RingAddresses } from './message.ts';
import { openRing } from './open-ring.ts';
import { QueueError } from './queue-error.ts';
import { usedBytes, type RingMemory } from './ring-memory.ts';

const FLAG_NEXT = 1;
const FLAG_WRITE = 2;
const FLAG_INDIRECT = 4;
const AVAILABLE_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;

/** Largest ring, in entries; QEMU's have 128. */
export const MAX_QUEUE_SIZE = 1024;

/** Optional rules of a ring, as they were negotiated. */
export interface RingRules {
  readonly eventIndex: boolean;
  readonly indirect: boolean;
}

interface Options {
  readonly memory: GuestMemory;
  readonly addresses: RingAddresses;
  /** entries, a power of two */
  readonly size: number;
  /** index of the first entry that is not popped yet; `used` where all popped chains were added to the used ring */
  readonly base: number | 'used';
  readonly rules: RingRules;
  /** log of writes to guest memory; undefined for a device that cannot migrate */
  readonly log?: DirtyLog | undefined;
}

/**
 * The device side of a split virtqueue (virtio 1.1, section 2.6). The guest may write anything into it at any
 * time: every index, length and address is read once and checked, and a broken rule throws QueueError.
 */
export class Virtqueue {
  readonly #memory: GuestMemory;
  readonly #size: number;
  readonly #mask: number;
  readonly #rules: RingRules;
  readonly #log: DirtyLog | undefined;
  readonly #markRange: (address: number, length: number) => void;
  /** guest address of the used ring for the log; undefined: its writes are not logged */
  loggedUsed: number | undefined;
  readonly #ring: RingMemory;
  /** copy of an indirect table; allocated with the first one */
  #indirect: Block | undefined;
  #nextAvailable: number;
  #nextUsed: number;
  #published: number;

  /** @throws QueueError where the ring is invalid: the guest chooses its place */
  constructor({ memory, addresses, size, base, rules, log }: Options) {
    if (size === 0 || size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0) {
      throw new QueueError(`ring of ${size} entries`);
    }
    this.#memory = memory;
    this.#size = size;
    this.#mask = size - 1;
    this.#rules = rules;
    this.#log = log;
    this.#markRange = (address, length) => log?.mark(address, length);
    this.loggedUsed = addresses.loggedUsed;
    this.#ring = openRing(memory, addresses, size);
    this.#nextUsed = this.#ring.usedAtStart;
    this.#nextAvailable = base === 'used' ? this.#nextUsed : base & 0xffff;
    this.#published = this.#nextUsed;
  }

  get size(): number {
    return this.#size;
  }

  /** Index of the first entry that is not popped yet; the front-end keeps it while the ring is stopped. */
  get base(): number {
    return this.#nextAvailable;
  }

  /** Number of chains that the guest has made available and the device has not popped. */
  get available(): number {
    const count = (this.#ring.available(this.#nextAvailable) - this.#nextAvailable) & 0xffff;
    if (count > this.#size) throw new QueueError(`${count} chains in a ring of ${this.#size}`);
    return count;
  }

  /** Pops the next available chain. @returns false where there is none */
  pop(chain: Chain): boolean {
    if (this.available === 0) return false;
    this.follow(this.#ring.head(this.#nextAvailable & this.#mask), chain);
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    return true;
  }

  /** Reads the chain of a head: one that was popped before the ring was stopped, and is not used yet. */
  follow(head: number, chain: Chain): void {
    chain.reset(head, this.#memory.process);
    this.#walk(this.#ring.descriptors, head, this.#size, chain);
  }

  /** Undoes the last pop: the chain is available again. */
  unpop(): void {
    this.#nextAvailable = (this.#nextAvailable - 1) & 0xffff;
  }

  /**
   * Adds a chain to the used ring, with the number of bytes written into it; the guest sees it after `publish`. Marks all its buffers
   * to write in the dirty log: also a request that failed may have written into them.
   */
  addUsed(chain: Pick<Chain, 'head' | 'eachRange'>, written: number): void {
    const { head } = chain;
    this.#ring.putUsed(this.#nextUsed & this.#mask, head, written);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    if (this.#log?.isActive !== true) return;
    // pages are marked after the write
    this.#memory.process?.flush();
    chain.eachRange(this.#markRange);
  }

  /** Updates the used index, so that the guest sees the used chains. @returns true where the guest asks for an interrupt */
  publish(): boolean {
    const [from, to] = [this.#published, this.#nextUsed];
    if (from === to) return false;
    this.#ring.publish(from, to);
    this.#published = to;
    this.#markUsedRing();
    this.#log?.signal();
    if (!this.#rules.eventIndex) return (this.#ring.interruptFlags() & AVAILABLE_NO_INTERRUPT) === 0;
    const event = this.#ring.interruptEvent();
    return ((to - event - 1) & 0xffff) < ((to - from) & 0xffff);
  }

  /**
   * Asks for a kick when chains become available.
   * @returns true where there are some already, for which no kick may arrive
   */
  enableNotifications(): boolean {
    if (this.#rules.eventIndex) this.#ring.setKickEvent(this.#nextAvailable);
    else this.#ring.setKickFlags(0);
    const hasMore = this.available > 0;
    this.#markUsedRing();
    return hasMore;
  }

  /** Asks for no kicks until `enableNotifications`. */
  disableNotifications(): void {
    // with event indices the guest kicks once when it passes the index that was asked for last
    if (this.#rules.eventIndex) return;
    this.#ring.setKickFlags(USED_NO_NOTIFY);
    this.#memory.process?.flush();
    this.#markUsedRing();
  }

  free(): void {
    this.#indirect?.free();
    this.#ring.free();
  }

  /** Marks the whole used ring: it has few pages, and a range of it may wrap. */
  #markUsedRing(): void {
    if (this.loggedUsed !== undefined) this.#log?.mark(this.loggedUsed, usedBytes(this.#size));
  }

  #walk(table: DataView, head: number, entries: number, chain: Chain): void {
    let index = head;
    // a chain that is longer than its table contains a loop
    for (let steps = 0; steps < entries; steps++) {
      if (index >= entries) throw new QueueError(`descriptor ${index} of ${entries}`);
      const at = index * DESCRIPTOR_BYTES;
      const address = table.getUint32(at, true) + table.getUint32(at + 4, true) * 2 ** 32;
      const length = table.getUint32(at + 8, true);
      const flags = table.getUint16(at + 12, true);
      const next = table.getUint16(at + 14, true);
      if ((flags & FLAG_INDIRECT) === 0)
        this.#add(chain, { address, length, writable: (flags & FLAG_WRITE) !== 0 });
      else this.#followTable(table, { address, length, flags }, chain);
      if ((flags & FLAG_NEXT) === 0) return;
      index = next;
    }
    throw new QueueError('chain without an end');
  }

  #add(chain: Chain, buffer: { address: number; length: number; writable: boolean }): void {
    if (!buffer.writable && chain.writable.count > 0)
      throw new QueueError('a buffer to read after one to write');
    const parts = buffer.writable ? chain.writable : chain.readable;
    const isMemory = this.#memory.ofGuest(buffer.address, buffer.length, (address, length) =>
      parts.add(address, length),
    );
    if (!isMemory) throw new QueueError(`no memory at ${buffer.address.toString(16)}+${buffer.length}`);
    // also while the log is off: it may be on when the device has written into the buffer
    if (buffer.writable && this.#log !== undefined) chain.addRange(buffer.address, buffer.length);
  }

  /** Copies the table first, so that the guest cannot change it between check and use. */
  #followTable(
    from: DataView,
    { address, length, flags }: { address: number; length: number; flags: number },
    chain: Chain,
  ): void {
    const entries = length / DESCRIPTOR_BYTES;
    if (!this.#rules.indirect || from !== this.#ring.descriptors || (flags & FLAG_NEXT) !== 0) {
      throw new QueueError('an indirect table where none may be');
    }
    if (!Number.isInteger(entries) || entries === 0 || entries > MAX_PARTS) {
      throw new QueueError(`indirect table of ${length} bytes`);
    }
    const block = (this.#indirect ??= allocate(MAX_PARTS * DESCRIPTOR_BYTES));
    if (!this.#memory.copyOut(block.address, address, length))
      throw new QueueError(`no memory for an indirect table at ${address.toString(16)}`);
    this.#walk(block.view, 0, entries, chain);
  }
}
