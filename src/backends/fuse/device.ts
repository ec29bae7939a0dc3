import type { Log } from '../../util/log.ts';
import { QueueError } from '../vhost-user/queue-error.ts';
import type { Device, Start } from '../vhost-user/device.ts';
import type { GuestMemory } from '../vhost-user/guest-memory.ts';
import type { CacheMode } from './cache-policy.ts';
import { Connection } from './connection.ts';
import type { Outcome } from './outcome.ts';
import type { RequestCounters } from './counters.ts';
import { decodeState, encodeState, type OpenRequest } from './device-state.ts';
import type { FileSystem } from './file-system.ts';
import { Request } from './request.ts';
import { RequestQueue } from './request-queue.ts';

/** Data after which the guest's pages are released, in `bytes`: touched pages count as memory of this process. */
const RELEASE_BYTES = 32 * 2 ** 20;

/** Most requests, and bytes of their data, of one queue in one call of `settle`, so that the others are served in between. */
const BUDGET = { requests: 64, bytes: 4 * 2 ** 20 } as const;

/** Finished requests that are kept for the next ones. */
const SPARE_REQUESTS = 32;

interface Options {
  readonly files: FileSystem;
  /** number of request queues, beside the high priority queue */
  readonly queues: number;
  readonly readonly: boolean;
  readonly cache: CacheMode;
  /** the file system implements POSIX ACLs as extended attributes; default: false */
  readonly posixAcl?: boolean;
  /** counts the finished requests */
  readonly counters?: RequestCounters | undefined;
  readonly log: Log;
}

/**
 * State of an open request: `pending` until the file system answers; while the device is stopped, its outcome, or `repeat` where the
 * file system must be asked again, because there were no buffers for the data.
 */
type OpenState = 'pending' | 'repeat' | Outcome;

/**
 * The virtio file system device (virtio 1.2, section 5.11). Its configuration space, with the tag, is the front-end's.
 *
 * A request that the file system answers later stays open, and with it its chain. While the device is stopped such requests have no
 * buffers; when it continues with the same driver, they get them again, and those that were answered meanwhile are finished.
 */
export class FsDevice implements Device {
  readonly features = 0n;
  readonly queues: number;
  /** firmware sets up one request queue alone, and a kernel no more of them than it has CPUs */
  readonly fewest = 1;
  readonly #log: Log;
  readonly #files: FileSystem;
  readonly #connection: Connection;
  readonly #counters: RequestCounters | undefined;
  /** requests to use again */
  readonly #spare: Request[] = [];
  readonly #open = new Map<Request, OpenState>();
  #running: readonly (RequestQueue | undefined)[] = [];
  #memory: GuestMemory | undefined;
  /** the request that is being handled */
  #current: Request | undefined;
  #moved = 0;
  #isDisposed = false;

  constructor({ files, queues, readonly, cache, posixAcl = false, counters, log }: Options) {
    this.#counters = counters;
    this.queues = 1 + queues;
    this.#log = log;
    this.#files = files;
    this.#connection = new Connection(
      { files, readonly, cache, posixAcl, warn: (message) => log.warn(message) },
      (request, outcome) => this.#answered(request, outcome),
    );
  }

  start({ queues, memory, resumed }: Start): void {
    if (!resumed) this.reset();
    this.#memory = memory;
    this.#running = queues.map((queue) => queue && new RequestQueue(queue));
    this.#continueOpen();
  }

  stop(): void {
    for (const queue of this.#running) queue?.publish();
    this.#running = [];
    this.#memory = undefined;
    for (const request of this.#open.keys()) request.dropBuffers();
  }

  kicked(queue: number): void {
    const running = this.#running[queue];
    if (running !== undefined) running.isKicked = true;
  }

  reset(): void {
    // the file system still has those that it answers later
    this.#open.clear();
    this.#connection.reset();
  }

  save(): Uint8Array {
    return encodeState({
      negotiated: this.#connection.negotiated,
      requests: [...this.#open].map(([request, state]) => openRequest(request, state)),
      files: this.#files.save(),
    });
  }

  load(bytes: Uint8Array): void {
    const { negotiated, requests, files } = decodeState(bytes);
    const restored = requests.map((open) => {
      if (open.queue >= this.queues) throw new Error(`an open request is of queue ${open.queue}`);
      const request = new Request();
      request.restore(open);
      return [request, open.outcome ?? 'repeat'] as const;
    });
    this.#files.load(files);
    this.#open.clear();
    for (const [request, state] of restored) this.#open.set(request, state);
    this.#connection.negotiated = negotiated;
  }

  /**
   * Handles the requests that have arrived, up to a limit.
   * @returns 0 where more may remain, else -1: the next call is needed after an event only
   */
  settle(): number {
    try {
      let more = false;
      for (const index of this.#running.keys()) more = this.#serve(index) || more;
      this.#releasePages();
      return more ? 0 : -1;
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** Stops the device where the guest is the reason. @throws the error where it is not */
  #fail(error: unknown): -1 {
    if (!(error instanceof QueueError)) throw error;
    this.#log.warn(`${error.fault}, its file system is stopped: ${error.message}`);
    this.#running = [];
    this.stop();
    this.reset();
    return -1;
  }

  [Symbol.dispose](): void {
    this.stop();
    this.reset();
    this.#isDisposed = true;
    for (const request of this.#spare) request.free();
  }

  /** Handles requests of a queue. @returns true where more may remain */
  #serve(index: number): boolean {
    const queue = this.#running[index];
    if (queue === undefined) return false;
    const moved = this.#moved;
    for (let i = 0; i < BUDGET.requests && this.#moved - moved < BUDGET.bytes; i++) {
      const request = this.#pop(queue);
      if (request === undefined) {
        queue.publish();
        return false;
      }
      request.queue = index;
      this.#handle(request);
    }
    queue.publish();
    return true;
  }

  /** Pops the next request of a queue. @returns undefined where there is none */
  #pop(queue: RequestQueue): Request | undefined {
    const request = this.#spare.pop() ?? new Request();
    let isPopped = false;
    try {
      isPopped = queue.pop(request);
    } finally {
      // also where the driver broke a rule: a guest can do that after each reset
      if (!isPopped) this.#recycle(request);
    }
    return isPopped ? request : undefined;
  }

  #handle(request: Request): void {
    const error = request.read();
    if (error === 0) this.#perform(request);
    else this.#finish(request, error === 'invalid' ? 'none' : -error);
  }

  /** Lets the file system answer, now or later. */
  #perform(request: Request): void {
    this.#current = request;
    this.#connection.handle(request);
    if (this.#current === undefined) return;
    this.#current = undefined;
    this.#open.set(request, 'pending');
  }

  #answered(request: Request, outcome: Outcome): void {
    if (request === this.#current) {
      this.#current = undefined;
      this.#finish(request, outcome);
    } else if (!this.#open.has(request)) {
      // of a driver that was reset
      this.#recycle(request);
    } else if (this.#running[request.queue] === undefined) {
      this.#open.set(request, request.isFilled ? 'repeat' : outcome);
    } else {
      this.#open.delete(request);
      this.#finishLate(request, outcome);
    }
  }

  #finishLate(request: Request, outcome: Outcome): void {
    try {
      this.#finish(request, outcome);
      this.#running[request.queue]?.publish();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Writes the reply and returns the chain to the guest. */
  #finish(request: Request, outcome: Outcome): void {
    const written = outcome === 'none' ? 0 : request.reply(outcome);
    this.#counters?.count(request, outcome === 'none' ? 0 : outcome);
    const data = Math.max(written, request.data);
    this.#moved += data;
    this.#running[request.queue]?.finish(request, written, data);
    this.#recycle(request);
  }

  #recycle(request: Request): void {
    if (this.#spare.length < SPARE_REQUESTS && !this.#isDisposed) this.#spare.push(request);
    else request.free();
  }

  /** Gives the open requests their buffers again, and finishes those that were answered while the device was stopped. */
  #continueOpen(): void {
    for (const [request, state] of [...this.#open]) {
      const queue = this.#running[request.queue];
      // queues are set up one after the other
      if (queue === undefined) continue;
      queue.follow(request);
      request.readBuffers();
      if (state === 'pending') continue;
      this.#open.delete(request);
      if (state === 'repeat') this.#perform(request);
      else this.#finish(request, state);
    }
    for (const queue of this.#running) queue?.publish();
  }

  #releasePages(): void {
    if (this.#moved < RELEASE_BYTES) return;
    this.#moved = 0;
    this.#memory?.releasePages();
  }
}

function openRequest(request: Request, state: OpenState): OpenRequest {
  const { queue, space, chain, input, output } = request;
  const outcome = state === 'pending' || state === 'repeat' ? undefined : state;
  const replyBytes = typeof outcome === 'number' ? Math.max(0, outcome) : 0;
  return { queue, head: chain.head, space, outcome, input, output: output.subarray(0, replyBytes) };
}
