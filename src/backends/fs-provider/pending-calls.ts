import type { Caller } from '../fuse/file-system.ts';
import { EIO, ENOTCONN } from './errors.ts';
import { Later } from './later.ts';
import type { Operation, OperationName, Outcome, ResultOf, ValueOf } from './operations.ts';
import type { FromThread } from './thread-messages.ts';

/** A call that the program has not completed. */
interface Pending {
  /** in `ms` of `performance.now()` */
  readonly deadline: number;
  readonly settle: (outcome: Outcome<ResultOf<OperationName>>) => void;
}

/** A call that the concurrency does not allow yet. */
interface Waiting {
  readonly start: () => void;
  readonly settle: (outcome: Outcome<ResultOf<OperationName>>) => void;
}

interface Options {
  readonly post: (message: FromThread) => void;
  /** time limit of a call in `milliseconds` */
  readonly timeoutMs: number;
  /** most calls at a time */
  readonly concurrency: number;
  /** called with a result that nothing waits for any more */
  readonly onLate: (outcome: Outcome<ResultOf<OperationName>>) => void;
}

/** Most calls after their time limit whose results are still expected, so that their references can be dropped. */
const MAX_LATE = 4096;

/**
 * The calls from the thread of a share to the program. Each settles: by its result, at its time limit (EIO), or when the share is
 * closed (ENOTCONN). The number of calls at a time is bounded; further ones wait, and copy nothing until they start.
 */
export class PendingCalls {
  readonly #options: Options;
  /** in the order of their deadlines */
  readonly #pending = new Map<number, Pending>();
  readonly #waiting: Waiting[] = [];
  readonly #late = new Set<number>();
  #nextId = 1;
  #isClosed = false;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Returns whether something waits for the result of a call. */
  isPending(id: number): boolean {
    return this.#pending.has(id);
  }

  /** Calls the program. `valueOf` is called when the call starts. */
  call<K extends OperationName>(
    name: K,
    caller: Caller,
    valueOf: () => ValueOf<K>,
  ): Later<Outcome<ResultOf<K>>> {
    const result = new Later<Outcome<ResultOf<K>>>();
    if (this.#isClosed) {
      result.settle({ error: ENOTCONN });
      return result;
    }
    // the program answers an operation with its own result
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const settle = ((outcome) => result.settle(outcome)) as Pending['settle'];
    const start = (): void => this.#start(settle, { name, value: valueOf(), caller: { ...caller } });
    if (this.#pending.size < this.#options.concurrency) start();
    else this.#waiting.push({ start, settle });
    return result;
  }

  /** Takes the result of a call. */
  settle(id: number, outcome: Outcome<ResultOf<OperationName>>): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return this.#settleLate(id, outcome);
    this.#pending.delete(id);
    pending.settle(outcome);
    this.#startWaiting();
  }

  /** Fails the calls whose time limit has passed. @returns after how many `ms` to call it again; undefined: no call is pending */
  expire(now: number): number | undefined {
    for (const [id, pending] of this.#pending) {
      if (pending.deadline > now) return Math.ceil(pending.deadline - now);
      this.#drop(id, pending, EIO);
      this.#startWaiting();
    }
    return undefined;
  }

  /** Fails all calls: the guest was reset. */
  abort(): void {
    for (const { settle } of this.#waiting.splice(0)) settle({ error: ENOTCONN });
    for (const [id, pending] of this.#pending) this.#drop(id, pending, ENOTCONN);
  }

  /** Fails all calls, also those to come. */
  close(): void {
    this.#isClosed = true;
    this.abort();
  }

  #start(settle: Pending['settle'], operation: object): void {
    const id = this.#nextId++;
    const deadline = performance.now() + this.#options.timeoutMs;
    this.#pending.set(id, { deadline, settle });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    this.#options.post({ kind: 'call', id, operation: operation as Operation });
  }

  #drop(id: number, { settle }: Pending, error: number): void {
    this.#pending.delete(id);
    if (this.#late.size < MAX_LATE) this.#late.add(id);
    this.#options.post({ kind: 'abort', id });
    settle({ error });
  }

  #settleLate(id: number, outcome: Outcome<ResultOf<OperationName>>): void {
    if (this.#late.delete(id)) this.#options.onLate(outcome);
  }

  #startWaiting(): void {
    while (this.#pending.size < this.#options.concurrency) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      next.start();
    }
  }
}
