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
  readonly queues: readonly RunningQueue[];
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
  /** number of queues, from the first on, that must be set up for the device to run; default: all */
  readonly fewest?: number;
  /** Returns the configuration space. */
  readonly config: () => Uint8Array;
  /** The queues run from now on. */
  readonly start: (start: Start) => void;
  /** The queues must not be accessed any more: the guest is paused or has ended, or its driver has reset the device. */
  readonly stop: () => void;
  /** The guest has made buffers available in a queue, which the device handles when the loop settles. */
  readonly kicked: (queue: number) => void;
  /** The driver is unloaded or the machine has ended: releases all state of the guest. */
  readonly reset: () => void;
}
