import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import { Chain, Parts } from '../vhost-user/descriptor-chain.ts';
import { QueueError } from '../vhost-user/queue-error.ts';
import type { RunningQueue } from '../vhost-user/device.ts';
import { haveRead, toRead } from '../vhost-user/transfer.ts';
import { encodeHeader, encodeLength, HEADER_BYTES, type Header } from './packet.ts';

/** Most buffers of the guest that one read fills: those of a Linux guest hold 3.7 KiB each. */
const MAX_CHAINS = 64;

/** Result of filling the guest's buffers. */
export type Filled =
  /** number of bytes that were sent to the guest */
  | number
  /** the socket has no more for now */
  | 'empty'
  /** the other end has shut down its sending side */
  | 'end'
  /** the socket is broken */
  | 'broken'
  /** the guest has no buffers for now */
  | 'starved';

/** The receive queue: empty buffers of the guest, which packets for it fill. */
export class ReceiveQueue {
  readonly #header: Block = allocate(HEADER_BYTES);
  readonly #chains = Array.from({ length: MAX_CHAINS }, () => new Chain());
  readonly #gathered = new Parts();
  readonly #beforeInterrupt: () => void;
  #queue: RunningQueue | undefined;
  #taken = 0;
  /** number of bytes of data that were sent to the guest; the device sets it to 0 */
  moved = 0;

  /** `beforeInterrupt` publishes other buffers with the same interrupt */
  constructor(beforeInterrupt: () => void) {
    this.#beforeInterrupt = beforeInterrupt;
  }

  /** Sets the queue; undefined while the device is stopped. */
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

  /** Reads at most `limit` bytes from a socket directly into the guest's buffers, as packets with this header. */
  data(header: Header, fd: number, limit: number): Filled {
    this.#gather(limit);
    if (this.#taken === 0) return 'starved';
    const gathered = this.#gathered;
    const { vectors, count: most } = toRead(gathered, 0, gathered.bytes);
    const count = libc().readv(fd, vectors, most);
    if (count <= 0) {
      const error = count < 0 ? errno() : 0;
      this.#leave(0);
      if (count === 0) return 'end';
      return error === EAGAIN ? 'empty' : 'broken';
    }
    haveRead(gathered, 0, count);
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

  /** Publishes the filled buffers. */
  publish(): void {
    if (this.#queue?.ring.publish() !== true) return;
    this.#beforeInterrupt();
    this.#queue.notify();
  }

  /** Asks for a kick when the guest adds buffers. @returns true where there are some already */
  enableNotifications(): boolean {
    return this.#queue?.ring.enableNotifications() ?? false;
  }

  free(): void {
    for (const chain of this.#chains) chain.free();
    this.#gathered.free();
    this.#header.free();
  }

  /** Pops buffers for so many bytes of data, as far as the guest has them. */
  #gather(bytes: number): void {
    this.#gathered.clear();
    let left = bytes;
    while (left > 0 && this.#taken < MAX_CHAINS) {
      const chain = this.#take();
      if (chain === undefined) return;
      this.#gathered.process = chain.writable.process;
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
    this.#queue?.ring.addUsed(chain, HEADER_BYTES + length);
  }

  /** Makes popped buffers that were not used available again. */
  #leave(used: number): void {
    for (let i = used; i < this.#taken; i++) this.#queue?.ring.unpop();
    this.#taken = 0;
  }
}
