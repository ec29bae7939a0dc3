import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import { Chain, Parts, QueueError } from '../vhost-user/descriptor-chain.ts';
import type { RunningQueue } from '../vhost-user/device.ts';
import { encodeHeader, encodeLength, HEADER_BYTES, type Header } from './packet.ts';

/** How many of the guest's buffers are filled by one read: a Linux guest's have room for 3.7 KiB each. */
const MAX_CHAINS = 64;

/** What came of filling the guest's buffers. */
export type Filled =
  /** bytes that went to the guest */
  | number
  /** the socket has no more for now */
  | 'empty'
  /** the other end will send no more */
  | 'end'
  /** the socket is broken */
  | 'broken'
  /** the guest has no buffers for now */
  | 'starved';

/** The queue of the guest's empty buffers: the way of all packets to the guest. */
export class ReceiveQueue {
  readonly #header: Block = allocate(HEADER_BYTES);
  readonly #chains = Array.from({ length: MAX_CHAINS }, () => new Chain());
  readonly #gathered = new Parts();
  readonly #beforeInterrupt: () => void;
  #queue: RunningQueue | undefined;
  #taken = 0;
  /** bytes of data that went to the guest since somebody set it to 0 */
  moved = 0;

  /** `beforeInterrupt`: what else the guest can take note of when it is interrupted anyway */
  constructor(beforeInterrupt: () => void) {
    this.#beforeInterrupt = beforeInterrupt;
  }

  /** All buffers are in the guest's memory, so the queue goes with it. */
  set queue(queue: RunningQueue | undefined) {
    this.#queue = queue;
    queue?.ring.disableNotifications();
  }

  /** Sends a packet without data. @returns false where the guest has no buffer for it */
  control(header: Header): boolean {
    const chain = this.#take();
    if (chain === undefined) return false;
    header.length = 0;
    encodeHeader(this.#header.view, header);
    this.#finish(chain, 0);
    this.#taken = 0;
    return true;
  }

  /** Reads from a socket straight into the guest's buffers, `limit` bytes at most, as packets with this header. */
  data(header: Header, fd: number, limit: number): Filled {
    this.#gather(limit);
    if (this.#taken === 0) return 'starved';
    const count = libc().readv(fd, this.#gathered.vectors, this.#gathered.count);
    if (count <= 0) {
      const error = count < 0 ? errno() : 0;
      this.#leave(0);
      if (count === 0) return 'end';
      return error === EAGAIN ? 'empty' : 'broken';
    }
    encodeHeader(this.#header.view, header);
    let left = count;
    let used = 0;
    for (; left > 0; used++) {
      const chain = this.#chains[used];
      if (chain === undefined) break;
      const length = Math.min(left, chain.writable.bytes - HEADER_BYTES);
      this.#finish(chain, length);
      left -= length;
    }
    this.#leave(used);
    this.publish();
    this.moved += count;
    return count;
  }

  /** Shows the guest what it got. */
  publish(): void {
    if (this.#queue?.ring.publish() !== true) return;
    this.#beforeInterrupt();
    this.#queue.notify();
  }

  /** Wants to be kicked when the guest adds buffers. @returns true where it has already */
  askForKick(): boolean {
    return this.#queue?.ring.enableNotifications() ?? false;
  }

  free(): void {
    for (const chain of this.#chains) chain.free();
    this.#gathered.free();
    this.#header.free();
  }

  /** Takes buffers with room for so many bytes of data, as far as the guest has them. */
  #gather(bytes: number): void {
    this.#gathered.clear();
    let left = bytes;
    while (left > 0 && this.#taken < MAX_CHAINS) {
      const chain = this.#take();
      if (chain === undefined) return;
      const length = Math.min(left, chain.writable.bytes - HEADER_BYTES);
      chain.writable.each(HEADER_BYTES, length, (address, part) => this.#gathered.add(address, part));
      left -= length;
    }
  }

  #take(): Chain | undefined {
    const chain = this.#chains[this.#taken];
    if (chain === undefined || this.#queue === undefined || !this.#queue.ring.pop(chain)) return undefined;
    if (chain.writable.bytes <= HEADER_BYTES)
      throw new QueueError(`a buffer of ${chain.writable.bytes} bytes`);
    this.#taken++;
    return chain;
  }

  #finish(chain: Chain, length: number): void {
    encodeLength(this.#header.view, length);
    chain.writable.copyIn(this.#header.address, HEADER_BYTES);
    this.#queue?.ring.addUsed(chain.head, HEADER_BYTES + length);
  }

  /** Gives back what was taken and not used. */
  #leave(used: number): void {
    for (let i = used; i < this.#taken; i++) this.#queue?.ring.unpop();
    this.#taken = 0;
  }
}
