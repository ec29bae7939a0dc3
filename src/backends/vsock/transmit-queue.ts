import { allocate, type Block } from '../../native/memory.ts';
import { Chain } from '../vhost-user/descriptor-chain.ts';
import type { RunningQueue } from '../vhost-user/device.ts';
import { decodeHeader, emptyHeader, HEADER_BYTES, type Header } from './packet.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';

/** Packets that are taken before others get their turn. */
const BUDGET = 256;

/**
 * How long a buffer that we are done with may stay out of the guest's hands, in `ms`. A sender waits for the room that its
 * data takes; nobody waits for a packet without data, and most of these say that a reader made room.
 */
const LAZY_MS = { data: 2, control: 10 };

/** Data in such buffers that is worth showing them when the guest is interrupted for something else, in `bytes`. */
const LAZY_BYTES = 16 * 1024;

/** Takes a packet: its header, and exactly the data that it announces. Both are used again for the next. */
export type TakePacket = (header: Header, data: Parts) => void;

/** The queue of what the guest sends. */
export class TransmitQueue {
  readonly #bytes: Block = allocate(HEADER_BYTES);
  readonly #header = emptyHeader();
  readonly #chain = new Chain();
  #queue: RunningQueue | undefined;
  #isKicked = false;
  /** buffers that were handed back and not shown yet, the data that was in them, and when the first came */
  #unshown = 0;
  #unshownBytes = 0;
  #since = 0;

  /** All buffers are in the guest's memory, so the queue goes with it. */
  set queue(queue: RunningQueue | undefined) {
    this.show();
    this.#queue = queue;
    this.#isKicked = queue !== undefined;
  }

  /** There may be something. */
  kick(): void {
    this.#isKicked = true;
  }

  /**
   * Takes packets while there are any and `mayTake` allows more.
   * @returns true where there may be more
   */
  take(mayTake: () => boolean, takePacket: TakePacket): boolean {
    const queue = this.#queue;
    if (queue === undefined || !this.#isKicked) return false;
    for (let taken = 0; this.#isKicked && taken < BUDGET && mayTake(); taken++) {
      if (queue.ring.pop(this.#chain)) this.#handle(queue, takePacket);
      else this.#isKicked = queue.ring.enableNotifications();
    }
    if (this.#unshown >= queue.ring.size / 4) this.show();
    return this.#isKicked && mayTake();
  }

  /**
   * Shows the guest the buffers that it may use again. Each time costs it an interrupt and a turn of its driver's thread,
   * and it is in no hurry: so this is done when many have come together, when their time has come, or together with
   * the interrupt of a packet for it where they held much data.
   */
  show(): void {
    if (this.#unshown === 0) return;
    this.#unshown = 0;
    this.#unshownBytes = 0;
    if (this.#queue?.ring.publish() === true) this.#queue.notify();
  }

  /** The guest is about to be interrupted for something else. */
  showData(): void {
    if (this.#unshownBytes >= LAZY_BYTES) this.show();
  }

  /** Shows buffers that have waited for long enough. */
  showLate(now: number): void {
    if (this.patience(now) === 0) this.show();
  }

  /** Until buffers are to be shown even so, in `ms` */
  patience(now: number): number | undefined {
    if (this.#unshown === 0) return undefined;
    const lazy = this.#unshownBytes > 0 ? LAZY_MS.data : LAZY_MS.control;
    return Math.max(0, Math.ceil(this.#since + lazy - now));
  }

  free(): void {
    this.#chain.free();
    this.#bytes.free();
  }

  /** What is no packet is passed over: the guest gets its buffer back and nothing else. */
  #handle({ ring }: RunningQueue, takePacket: TakePacket): void {
    const { readable, head } = this.#chain;
    const bytes = Math.max(0, readable.bytes - HEADER_BYTES);
    if (readable.bytes >= HEADER_BYTES) {
      readable.copyOut(this.#bytes.address, HEADER_BYTES);
      decodeHeader(this.#bytes.view, this.#header);
      readable.skip(HEADER_BYTES);
      if (this.#header.length === readable.bytes) takePacket(this.#header, readable);
    }
    ring.addUsed(head, 0);
    if (this.#unshown++ === 0) this.#since = performance.now();
    this.#unshownBytes += bytes;
  }
}
