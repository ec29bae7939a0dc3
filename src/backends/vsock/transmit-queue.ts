import { allocate, type Block } from '../../native/memory.ts';
import { Chain } from '../vhost-user/descriptor-chain.ts';
import type { RunningQueue } from '../vhost-user/device.ts';
import { decodeHeader, emptyHeader, HEADER_BYTES, type Header } from './packet.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';

/** Most packets of one call, so that connections are served in between. */
const BUDGET = 256;

/**
 * Longest time that a used buffer stays unpublished, in `ms`. A sender in the guest waits for the memory of its data; no program waits
 * for a packet without data, most of which announce credit.
 */
const DELAY_MS = { data: 2, control: 10 };

/** Data in unpublished buffers from which on they are published together with another interrupt, in `bytes`. */
const PUBLISH_BYTES = 16 * 1024;

/** Receives a packet: its header, and exactly the data that it announces. Both are reused for the next packet. */
export type TakePacket = (header: Header, data: Parts) => void;

/** The transmit queue: packets of the guest. */
export class TransmitQueue {
  readonly #bytes: Block = allocate(HEADER_BYTES);
  readonly #header = emptyHeader();
  readonly #chain = new Chain();
  #queue: RunningQueue | undefined;
  #isKicked = false;
  /** buffers that are used and not published yet, the data that was in them, and the time of the first */
  #unpublished = 0;
  #unpublishedBytes = 0;
  #since = 0;

  /** Sets the queue; undefined while the device is stopped. */
  set queue(queue: RunningQueue | undefined) {
    this.publish();
    this.#queue = queue;
    this.#isKicked = queue !== undefined;
  }

  /** The guest may have added packets. */
  kick(): void {
    this.#isKicked = true;
  }

  /**
   * Handles packets while there are any and `mayTake` allows more.
   * @returns true where more may remain
   */
  take(mayTake: () => boolean, takePacket: TakePacket): boolean {
    const queue = this.#queue;
    if (queue === undefined || !this.#isKicked) return false;
    for (let taken = 0; this.#isKicked && taken < BUDGET && mayTake(); taken++) {
      if (queue.ring.pop(this.#chain)) this.#handle(queue, takePacket);
      else this.#isKicked = queue.ring.enableNotifications();
    }
    if (this.#unpublished >= queue.ring.size / 4) this.publish();
    return this.#isKicked && mayTake();
  }

  /**
   * Publishes the used buffers. Each time costs the guest an interrupt and a run of its driver, and it seldom waits for them: so
   * this is done when there are many, after a delay, or together with the interrupt of a received packet where they held much
   * data.
   */
  publish(): void {
    if (this.#unpublished === 0) return;
    this.#unpublished = 0;
    this.#unpublishedBytes = 0;
    if (this.#queue?.ring.publish() === true) this.#queue.notify();
  }

  /** Publishes much data together with an interrupt for received packets. */
  publishData(): void {
    if (this.#unpublishedBytes >= PUBLISH_BYTES) this.publish();
  }

  /** Publishes buffers whose delay is over. */
  publishLate(now: number): void {
    if (this.nextPublish(now) === 0) this.publish();
  }

  /** Returns the time until buffers must be published, in `ms`; undefined where there are none. */
  nextPublish(now: number): number | undefined {
    if (this.#unpublished === 0) return undefined;
    const delay = this.#unpublishedBytes > 0 ? DELAY_MS.data : DELAY_MS.control;
    return Math.max(0, Math.ceil(this.#since + delay - now));
  }

  free(): void {
    this.#chain.free();
    this.#bytes.free();
  }

  /** Handles a chain; one that is no packet is ignored and returned to the guest. */
  #handle({ ring }: RunningQueue, takePacket: TakePacket): void {
    const { readable } = this.#chain;
    const bytes = Math.max(0, readable.bytes - HEADER_BYTES);
    if (readable.bytes >= HEADER_BYTES) {
      readable.copyOut(this.#bytes.address, HEADER_BYTES);
      decodeHeader(this.#bytes.view, this.#header);
      readable.skip(HEADER_BYTES);
      if (this.#header.length === readable.bytes) takePacket(this.#header, readable);
    }
    ring.addUsed(this.#chain, 0);
    if (this.#unpublished++ === 0) this.#since = performance.now();
    this.#unpublishedBytes += bytes;
  }
}
