import type { GuestMemory } from './guest-memory.ts';
import type { Virtqueue } from './virtqueue.ts';

/** A running queue. */
export interface RunningQueue {
  readonly ring: Virtqueue;
  /** Interrupts the guest for this queue. */
  readonly notify: () => void;
}

/** State in which a device starts or continues. */
export interface Start {
  /** all queues of the device by their numbers; undefined where the driver does not use it */
  readonly queues: readonly (RunningQueue | undefined)[];
  readonly memory: GuestMemory;
  /** the driver is the same as before the stop, and the rings are where they were; else the driver is a new one */
  readonly resumed: boolean;
}

/** A virtio device of this process. All functions are called in the thread of the back-end. */
export interface Device {
  /** feature bits of the device, beside those of the rings */
  readonly features: bigint;
  /** number of queues that the front-end passes to the back-end */
  readonly queues: number;
  /** number of queues that must be set up for the device to run, whichever they are; default: all */
  readonly fewest?: number;
  /** Returns the configuration space; left out where the front-end has it (then the protocol feature CONFIG is not offered) */
  readonly config?: () => Uint8Array;
  /** The queues run from now on. */
  readonly start: (start: Start) => void;
  /**
   * The queues and the buffers of popped chains must not be accessed any more: the guest is paused or has ended, or its driver has
   * reset the device. A chain that is popped and not used is lost, unless `unpop` makes it available again before this returns.
   */
  readonly stop: () => void;
  /** The guest has made buffers available in a queue, which the device handles when the loop settles. */
  readonly kicked: (queue: number) => void;
  /** The driver is unloaded or the machine has ended: releases all state of the guest. */
  readonly reset: () => void;
  /**
   * Returns the state of the guest, in a form with a version. Called while the device is stopped, which continues if the migration
   * fails. The front-end can migrate a device with `save` and `load`, and no other.
   */
  readonly save?: () => Uint8Array;
  /**
   * Continues where `save` was called, perhaps in another process. Called while the device is stopped; the next start is resumed.
   * @throws where the bytes are invalid; then nothing has changed
   */
  readonly load?: (state: Uint8Array) => void;
}
