import type { Log } from '../../util/log.ts';
import type { EventLoop } from '../event-loop.ts';
import { QueueError } from './queue-error.ts';
import type { Device } from './device.ts';
import { DirtyLog } from './dirty-log.ts';
import { GuestMemory } from './guest-memory.ts';
import { ProtocolError, RingFeature, type LogArea, type RingAddresses } from './message.ts';
import { Vring } from './vring.ts';

export const bit = (index: bigint): bigint => 1n << index;

/** Features of the rings, which are offered for every device. */
const RING_FEATURES =
  bit(RingFeature.Version1) |
  bit(RingFeature.EventIndex) |
  bit(RingFeature.IndirectDescriptors) |
  bit(RingFeature.ProtocolFeatures);

const LOG_ALL = bit(RingFeature.LogAll);

/** Returns whether the front-end can migrate a device. */
export function canMigrate({ save, load }: Device): boolean {
  return save !== undefined && load !== undefined;
}

interface Options {
  readonly loop: EventLoop;
  readonly device: Device;
  readonly log: Log;
  /** the first start continues the rings of another front-end, see {@link Session} */
  readonly continuesRings: boolean;
}

/**
 * The rings of a device and the guest memory they are in. The device runs while all that it needs is set; each change of a ring,
 * the memory or the features stops it, and starts it again where it still can. The dirty log changes while it runs.
 */
export class Rings {
  readonly #messages: Log;
  readonly #loop: EventLoop;
  readonly #device: Device;
  readonly #memory = new GuestMemory();
  readonly #log: DirtyLog | undefined;
  readonly #vrings: readonly Vring[];
  #continuesRings: boolean;
  /** the device has the state of the driver, whose rings have not run here */
  #isLoaded = false;
  #features: bigint | undefined;
  #isRunning = false;

  constructor({ loop, device, log, continuesRings }: Options) {
    this.#messages = log;
    this.#log = canMigrate(device) ? new DirtyLog() : undefined;
    this.#loop = loop;
    this.#device = device;
    this.#continuesRings = continuesRings;
    this.#vrings = Array.from({ length: device.queues }, () => new Vring());
  }

  get count(): number {
    return this.#vrings.length;
  }

  /** feature bits that the front-end may negotiate */
  get offered(): bigint {
    return RING_FEATURES | this.#device.features | (this.#log === undefined ? 0n : LOG_ALL);
  }

  get isRunning(): boolean {
    return this.#isRunning;
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

  /** Sets the addresses of a ring; it continues to run where only the log of its used ring changes. */
  setAddresses(index: number, addresses: RingAddresses): void {
    const vring = this.get(index);
    if (vring.isAt(addresses)) vring.setAddresses(addresses);
    else this.change(index, () => vring.setAddresses(addresses));
  }

  /** Changes the memory while the device is stopped. */
  changeMemory(change: (memory: GuestMemory) => void): void {
    this.stop();
    change(this.#memory);
    this.#startIfReady();
  }

  /** Sets the negotiated features; the device continues to run where only the log changes. @throws ProtocolError where one was not offered */
  setFeatures(features: bigint): void {
    const unknown = features & ~this.offered;
    if (unknown !== 0n) throw new ProtocolError(`features ${unknown.toString(16)} were not offered`);
    const isSame = this.#features !== undefined && ((this.#features ^ features) & ~LOG_ALL) === 0n;
    if (!isSame) this.stop();
    this.#features = features;
    if (this.#log !== undefined) this.#log.isOn = this.#has(RingFeature.LogAll);
    if (isSame) return;
    if (!this.#has(RingFeature.ProtocolFeatures)) for (const vring of this.#vrings) vring.enabled = true;
    this.#startIfReady();
  }

  /** Sets the memory of the dirty log; the caller closes the descriptor. @throws ProtocolError where it is invalid, or was not offered */
  setLogArea(fd: number, area: LogArea): void {
    if (this.#log === undefined) throw new ProtocolError('a dirty log was not offered');
    this.#log.map(fd, area);
  }

  /** Takes over the eventfd that is signalled when the log was modified. @throws ProtocolError where a log was not offered */
  setLogModified(fd: number): void {
    if (this.#log === undefined) throw new ProtocolError('a dirty log was not offered');
    this.#log.setModified(fd);
  }

  /** Stops one ring; the device continues with the others where it can. @returns the index of the ring's first entry that is not popped */
  stopRing(index: number): number {
    this.change(index, (vring) => vring.setKick(-1, this.#loop, () => undefined));
    return this.get(index).base;
  }

  /** Resets the device, except where its state belongs to a driver that stays. */
  resetDevice(): void {
    // the front-end resets its new device when it creates it: the driver, whose streams these are, did not
    if (this.#continuesRings) return;
    this.stop();
    this.#forgetDriver();
    this.#device.reset();
  }

  /** The device, which is stopped, has loaded the state of a driver whose rings ran in another back-end. */
  continueLoaded(): void {
    this.#forgetDriver();
    this.#isLoaded = true;
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
    this.#log?.[Symbol.dispose]();
  }

  #startIfReady(): void {
    const used = this.#vrings.filter((vring) => vring.ready);
    if (used.length < (this.#device.fewest ?? this.#vrings.length)) return;
    const continuesRings = this.#continuesRings;
    const knowsDriver = continuesRings || this.#isLoaded || this.#vrings.some(({ hasRun }) => hasRun);
    const resumed = knowsDriver && !used.some(({ changed }) => changed);
    if (!resumed) this.#forgetDriver();
    const rules = {
      eventIndex: this.#has(RingFeature.EventIndex),
      indirect: this.#has(RingFeature.IndirectDescriptors),
    };
    const start = { memory: this.#memory, rules, log: this.#log, continuesRings };
    this.#isRunning = true;
    try {
      const queues = this.#vrings.map((vring) => (vring.ready ? vring.start(start) : undefined));
      this.#device.start({ queues, memory: this.#memory, resumed });
      this.#continuesRings = false;
      this.#isLoaded = false;
      // the last interrupt may have been lost with the previous device
      if (continuesRings) for (const queue of queues) queue?.notify();
    } catch (error) {
      this.#startFailed(error, resumed);
    }
  }

  /** Stops the device again. @throws the error where the guest is not its reason */
  #startFailed(error: unknown, resumed: boolean): void {
    if (!(error instanceof QueueError)) throw error;
    this.#messages.warn(`the guest's rings cannot be used: ${error.message}`);
    this.stop();
    // some rings may have run, but the device still has the state of the previous driver
    if (!resumed) this.#forgetDriver();
  }

  #forgetDriver(): void {
    this.#isLoaded = false;
    for (const vring of this.#vrings) vring.forgetRun();
  }

  #has(feature: bigint): boolean {
    return ((this.#features ?? 0n) & bit(feature)) !== 0n;
  }
}
