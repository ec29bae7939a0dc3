import type { GuestMemory } from './guest-memory.ts';
import type { Virtqueue } from './virtqueue.ts';

/** A queue that runs, with its way to the guest. */
export interface RunningQueue {
  readonly ring: Virtqueue;
  /** Interrupts the guest for this queue. */
  readonly notify: () => void;
}

/** How a device goes on when its queues run again. */
export interface Start {
  readonly queues: readonly RunningQueue[];
  readonly memory: GuestMemory;
  /** the guest was only paused, or does not know of another front-end: the rings are where they were. Else its driver is a new one */
  readonly resumed: boolean;
}

/** A virtio device that is made here. All functions are called in the thread of the back-end. */
export interface Device {
  /** what the device offers beside the rings' features */
  readonly features: bigint;
  /** number of queues that the front-end gives to the back-end */
  readonly queues: number;
  /** how many of them, from the first on, must be set up for the device to run; all unless given */
  readonly fewest?: number;
  /** Its configuration space. */
  readonly config: () => Uint8Array;
  /** All queues run from now on. */
  readonly start: (start: Start) => void;
  /** The queues may not be touched any more: the guest pauses, or ends, or its driver lets the device go. */
  readonly stop: () => void;
  /** The guest has made buffers available in a queue: something to do when the loop settles. */
  readonly kicked: (queue: number) => void;
  /** The driver or the whole machine is gone, and with it everything that the guest had. */
  readonly reset: () => void;
}
