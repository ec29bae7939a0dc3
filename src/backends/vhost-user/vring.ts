import type { EventLoop, Watch } from '../event-loop.ts';
import { closeAll } from '../../native/descriptor-passing.ts';
import { EPOLLET, EPOLLIN, signalEventfd } from '../../native/epoll.ts';
import type { RunningQueue } from './device.ts';
import type { DirtyLog } from './dirty-log.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { RingAddresses } from './message.ts';
import { Virtqueue, type RingRules } from './virtqueue.ts';

/** Common to all rings of a device that start together. */
export interface RingStart {
  readonly memory: GuestMemory;
  readonly rules: RingRules;
  /** undefined for a device that cannot migrate */
  readonly log: DirtyLog | undefined;
  /** the front-end does not know the rings' indices */
  readonly continuesRings: boolean;
}

/** The parameters of one ring, as the front-end sets them one by one, and its queue while it runs. */
export class Vring {
  size = 0;
  base = 0;
  enabled = false;
  #addresses: RingAddresses | undefined;
  #kick = -1;
  #call = -1;
  #watch: Watch | undefined;
  #ring: Virtqueue | undefined;
  /** parameters with which the ring ran last */
  #last: { readonly addresses: RingAddresses; readonly size: number; readonly base: number } | undefined;

  /** all parameters are set */
  get ready(): boolean {
    return this.enabled && this.#kick >= 0 && this.#addresses !== undefined && this.size > 0;
  }

  /** the ring has run, for the same driver as far as is known */
  get hasRun(): boolean {
    return this.#last !== undefined;
  }

  /** the ring has run with other parameters: another driver has set it up */
  get changed(): boolean {
    const { last, now } = { last: this.#last, now: this.#addresses };
    if (last === undefined) return false;
    return last.base !== this.base || last.size !== this.size || !arePlacedAlike(last.addresses, now);
  }

  /** Returns whether the ring is at these addresses. */
  isAt(addresses: RingAddresses): boolean {
    return arePlacedAlike(addresses, this.#addresses);
  }

  /** Sets the addresses; a running ring must be at the same ones, and only the log of its used ring changes. */
  setAddresses(addresses: RingAddresses): void {
    this.#addresses = addresses;
    if (this.#ring !== undefined) this.#ring.loggedUsed = addresses.loggedUsed;
  }

  /** Starts the queue. With `continuesRings` the front-end does not know the ring's index. */
  start({ memory, rules, log, continuesRings }: RingStart): RunningQueue {
    const { size } = this;
    const addresses = this.#addresses;
    if (addresses === undefined) throw new Error('the ring has no addresses yet');
    const base = continuesRings ? 'used' : this.base;
    const ring = new Virtqueue({ memory, addresses, size, base, rules, log });
    this.#ring = ring;
    return { ring, notify: () => this.#notify() };
  }

  stop(): void {
    if (this.#ring === undefined || this.#addresses === undefined) return;
    this.base = this.#ring.base;
    this.#last = { addresses: this.#addresses, size: this.size, base: this.base };
    this.#ring.free();
    this.#ring = undefined;
  }

  /** Drops the parameters of the last run: the next driver is another one, or the state of the device is. */
  forgetRun(): void {
    this.#last = undefined;
  }

  /** Takes over the eventfd of the guest's kicks; -1 for none. */
  setKick(fd: number, loop: EventLoop, kicked: () => void): void {
    this.#watch?.stop();
    this.#watch = undefined;
    closeAll(this.#kick < 0 ? [] : [this.#kick]);
    this.#kick = fd;
    // edge-triggered, so that the counter need not be read
    if (fd >= 0) this.#watch = loop.watch(fd, EPOLLIN | EPOLLET, kicked);
  }

  /** Takes over the eventfd that interrupts the guest; -1 for none. */
  setCall(fd: number): void {
    closeAll(this.#call < 0 ? [] : [this.#call]);
    this.#call = fd;
  }

  close(loop: EventLoop): void {
    this.stop();
    this.setKick(-1, loop, () => undefined);
    this.setCall(-1);
  }

  #notify(): void {
    if (this.#call >= 0) signalEventfd(this.#call);
  }
}

function arePlacedAlike(one: RingAddresses, other: RingAddresses | undefined): boolean {
  return (
    one.descriptors === other?.descriptors && one.available === other.available && one.used === other.used
  );
}
