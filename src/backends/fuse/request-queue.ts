import { QueueError } from '../vhost-user/queue-error.ts';
import type { RunningQueue } from '../vhost-user/device.ts';
import type { Request } from './request.ts';

/** Finished requests, and bytes of their data, after which they are published: each time may cost the guest an interrupt. */
const PUBLISH = { requests: 16, bytes: 128 * 1024 } as const;

/** A queue of the device while it runs. */
export class RequestQueue {
  readonly #queue: RunningQueue;
  /** the guest may have added requests */
  isKicked = true;
  /** requests that are popped and not finished */
  #open = 0;
  #unpublished = 0;
  #unpublishedBytes = 0;

  constructor(queue: RunningQueue) {
    this.#queue = queue;
    queue.ring.disableNotifications();
  }

  /**
   * Pops the next request.
   * @returns false where there is none: the guest kicks when it adds one
   */
  pop({ chain }: Request): boolean {
    const { ring } = this.#queue;
    while (this.isKicked) {
      if (ring.pop(chain)) {
        if (this.#open++ === ring.size) throw new QueueError('more requests than the ring has entries');
        return true;
      }
      this.isKicked = ring.enableNotifications();
    }
    return false;
  }

  /** Reads the chain of a request that was popped before the queue was stopped. */
  follow({ chain }: Request): void {
    this.#open++;
    this.#queue.ring.follow(chain.head, chain);
  }

  /** Returns a request's chain to the guest, with the number of bytes of the reply, and of data in either direction. */
  finish({ chain }: Request, written: number, data: number): void {
    this.#open--;
    this.#queue.ring.addUsed(chain, written);
    this.#unpublished++;
    this.#unpublishedBytes += data;
    if (this.#unpublished >= PUBLISH.requests || this.#unpublishedBytes >= PUBLISH.bytes) this.publish();
  }

  /** Shows the guest the finished requests. */
  publish(): void {
    if (this.#unpublished === 0) return;
    this.#unpublished = 0;
    this.#unpublishedBytes = 0;
    if (this.#queue.ring.publish()) this.#queue.notify();
  }
}
