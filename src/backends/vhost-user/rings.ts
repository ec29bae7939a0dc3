import type { Log } from '../../util/log.ts';
import type { EventLoop } from '../event-loop.ts';
import { QueueError } from './descriptor-chain.ts';
import type { Device, RunningQueue } from './device.ts';
import { GuestMemory } from './guest-memory.ts';
import { ProtocolError, RingFeature } from './message.ts';
import { Vring } from './vring.ts';

export const bit = (index: bigint): bigint => 1n << index;

/** Features of the rings, which are offered for every device. */
export const RING_FEATURES =
  bit(RingFeature.Version1) |
  bit(RingFeature.EventIndex) |
  bit(RingFeature.IndirectDescriptors) |
  bit(RingFeature.ProtocolFeatures);

interface Options {
  readonly loop: EventLoop;
  readonly device: Device;
  readonly log: Log;
  /** the first start continues the rings of another front-end, see {@link Session} */
  readonly continuesRings: boolean;
}

/**
 * The rings of a device and the guest memory they are in. The device runs while all that it needs is set; each change of a ring,
 * the memory or the features stops it, and starts it again where it still can.
 */
export class Rings {
  readonly #log: Log;
  readonly #loop: EventLoop;
  readonly #device: Device;
  readonly #memory = new GuestMemory();
  readonly #vrings: readonly Vring[];
  #continuesRings: boolean;
  #features = 0n;
  #isRunning = false;

  constructor({ loop, device, log, continuesRings }: Options) {
    this.#log = log;
    this.#loop = loop;
    this.#device = device;
    this.#continuesRings = continuesRings;
    this.#vrings = Array.from({ length: device.queues }, () => new Vring());
  }

  get count(): number {
    return this.#vrings.length;
  }

  /** @throws ProtocolError where there is no such ring */
  get(index: number): Vring {
    const vring = this.#vrings[index];
    if (vring === undefined) throw new ProtocolError(`there is no queue ${index}`);
    return vring;
  }

  /** Changes a ring while the device is stopped. */
  change(index: number, change: (vring: Vring) => void): void {
    this.stop();
    change(this.get(index));
    this.#startIfReady();
  }

  /** Changes the memory while the device is stopped. */
  changeMemory(change: (memory: GuestMemory) => void): void {
    this.stop();
    change(this.#memory);
    this.#startIfReady();
  }

  /** Sets the negotiated features. @throws ProtocolError where one was not offered */
  setFeatures(features: bigint): void {
    const unknown = features & ~(RING_FEATURES | this.#device.features);
    if (unknown !== 0n) throw new ProtocolError(`features ${unknown.toString(16)} were not offered`);
    this.stop();
    this.#features = features;
    if (!this.#has(RingFeature.ProtocolFeatures)) for (const vring of this.#vrings) vring.enabled = true;
    this.#startIfReady();
  }

  /** Stops the device and one ring. @returns the index of the ring's first entry that is not popped */
  stopRing(index: number): number {
    const vring = this.get(index);
    this.stop();
    vring.setKick(-1, this.#loop, () => undefined);
    return vring.base;
  }

  /** Resets the device, except where its state belongs to a driver that stays. */
  resetDevice(): void {
    // the front-end resets its new device when it creates it: the driver, whose streams these are, did not
    if (this.#continuesRings) return;
    this.stop();
    this.#device.reset();
  }

  stop(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#device.stop();
    for (const vring of this.#vrings) vring.stop();
  }

  /** Releases the rings and the memory; the device must be stopped. */
  close(): void {
    for (const vring of this.#vrings) vring.close(this.#loop);
    this.#memory.clear();
  }

  #startIfReady(): void {
    const missing = this.#vrings.findIndex((vring) => !vring.ready);
    const used = missing < 0 ? this.#vrings : this.#vrings.slice(0, missing);
    if (used.length < (this.#device.fewest ?? this.#vrings.length)) return;
    const continuesRings = this.#continuesRings;
    this.#continuesRings = false;
    const resumed = continuesRings || used.every((vring) => vring.unchanged);
    const rules = {
      eventIndex: this.#has(RingFeature.EventIndex),
      indirect: this.#has(RingFeature.IndirectDescriptors),
    };
    this.#isRunning = true;
    try {
      const queues: RunningQueue[] = used.map((vring) => vring.start(this.#memory, rules, continuesRings));
      this.#device.start({ queues, memory: this.#memory, resumed });
      // the last interrupt may have been lost with the previous device
      if (continuesRings) for (const { notify } of queues) notify();
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      this.#log.warn(`the guest's rings cannot be used: ${error.message}`);
      this.stop();
    }
  }

  #has(feature: bigint): boolean {
    return (this.#features & bit(feature)) !== 0n;
  }
}
