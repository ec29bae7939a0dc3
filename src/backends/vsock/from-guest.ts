import { allocate, type Block } from '../native.ts';
import { Chain } from '../vhost-user/chain.ts';
import type { RunningQueue } from '../vhost-user/device.ts';
import { decodeHeader, emptyHeader, HEADER_BYTES, type Header } from './packet.ts';
import type { Parts } from '../vhost-user/chain.ts';

/** Packets that are taken before others get their turn. */
const BUDGET = 256;

/** How long a buffer that we are done with may stay out of the guest's hands, in `ms`. */
const LAZY_MS = 2;

/** Takes a packet: its header, and exactly the data that it announces. Both are used again for the next. */
export type TakePacket = (header: Header, data: Parts) => void;

/** The queue of what the guest sends. */
export class FromGuest {
  readonly #bytes: Block = allocate(HEADER_BYTES);
  readonly #header = emptyHeader();
  readonly #chain = new Chain();
  #queue: RunningQueue | undefined;
  #isKicked = false;
  /** buffers that were handed back and not shown yet */
  #unshown = 0;

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
      if (queue.ring.take(this.#chain)) this.#handle(queue, takePacket);
      else this.#isKicked = queue.ring.askForKick();
    }
    if (this.#unshown >= queue.ring.size / 4) this.show();
    return this.#isKicked && mayTake();
  }

  /**
   * Shows the guest the buffers that it may use again. Each time costs it an interrupt, and it is in no hurry:
   * so this is done together with the interrupt of a packet for it, or when many have come together.
   */
  show(): void {
    if (this.#unshown === 0) return;
    this.#unshown = 0;
    if (this.#queue?.ring.publish() === true) this.#queue.notify();
  }

  /** Until buffers should be shown even so, in `ms` */
  get patience(): number | undefined {
    return this.#unshown > 0 ? LAZY_MS : undefined;
  }

  free(): void {
    this.#chain.free();
    this.#bytes.free();
  }

  /** What is no packet is passed over: the guest gets its buffer back and nothing else. */
  #handle({ ring }: RunningQueue, takePacket: TakePacket): void {
    const { readable, head } = this.#chain;
    if (readable.bytes >= HEADER_BYTES) {
      readable.copyOut(this.#bytes.address, HEADER_BYTES);
      decodeHeader(this.#bytes.view, this.#header);
      readable.skip(HEADER_BYTES);
      if (this.#header.length === readable.bytes) takePacket(this.#header, readable);
    }
    ring.giveBack(head, 0);
    this.#unshown++;
  }
}
