import { deferred, type Deferred } from '../util/deferred.ts';
import { onAbort } from '../util/shutdown-signals.ts';
import { LaunchError } from './errors.ts';

/*
 * A stock of things that take long to start and are used once.
 *
 * Each start ends in one of three ways: the first waiting caller gets the item, or the stock keeps it, or it is disposed of because the
 * stock is full or closed. Items that end by themselves leave the stock.
 *
 * Invariants: at most one start at a time is for the stock; more run only for callers that wait. A caller that waits has a start.
 */

/** An item: it can end by itself before it is used. */
export interface StockItem extends AsyncDisposable {
  /** Settles when it has ended; never rejects */
  readonly ended: Promise<unknown>;
}

/** An item that was taken. The caller owns it. */
export interface Taken<T> {
  readonly item: T;
  /** Lets the stock start another item, after the delay */
  readonly replace: () => void;
}

export interface StockOptions<T> {
  /** Number of items that are kept */
  readonly size: number;
  /** Starts an item; rejects without leaving anything, also on abort */
  readonly start: (signal: AbortSignal) => Promise<T>;
  /** Time from `replace` to the start of another item, in `milliseconds` */
  readonly refillDelayMs: number;
  /** First delay after a failed start, which doubles up to 64 times of it, in `milliseconds` */
  readonly failureDelayMs: number;
}

/** The delay after failed starts doubles so many times. */
const GROWTHS_MAX = 6;

/** A stock. Disposal ends its items, aborts its starts and rejects the callers that wait. */
export class Stock<T extends StockItem> implements AsyncDisposable {
  readonly #options: StockOptions<T>;
  readonly #ready: T[] = [];
  readonly #waiting: Deferred<T>[] = [];
  readonly #starts = new Set<Promise<void>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #closed = new AbortController();
  readonly #filled = deferred<undefined>();
  /** Items that were taken and are not to be replaced yet */
  #used = 0;
  #failures = 0;
  #failure: Error | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: StockOptions<T>) {
    this.#options = options;
    // only a caller of `fill` waits for it
    this.#filled.promise.catch(() => undefined);
  }

  /** Number of items that can be taken at once */
  get ready(): number {
    return this.#ready.length;
  }

  /** Reason of the last failed start; undefined after a successful one */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Starts the items, and waits until all are ready. Rejects with the reason of the first failed start, or with LaunchError on abort. */
  async fill(signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#options.size === 0) return;
    const removeHandler = whenAborted(signal, () => this.#filled.reject(aborted(signal)));
    this.#refill();
    try {
      await this.#filled.promise;
    } finally {
      removeHandler();
    }
  }

  /** Takes an item, which is ready or is started for this call. @throws LaunchError on abort, or if the stock is closed */
  async take(signal?: AbortSignal): Promise<Taken<T>> {
    throwIfAborted(signal);
    if (this.#closed.signal.aborted) throw new LaunchError('the pool is closed');
    const ready = this.#ready.shift();
    if (ready !== undefined) this.#used++;
    const item = ready ?? (await this.#startFor(signal));
    let isReplaced = false;
    const replace = (): void => {
      if (isReplaced) return;
      isReplaced = true;
      this.#after(this.#options.refillDelayMs, () => this.#used--);
    };
    return { item, replace };
  }

  /** Returns the next item that starts. One start runs for each caller that waits. */
  async #startFor(signal: AbortSignal | undefined): Promise<T> {
    const waiting = deferred<T>();
    this.#waiting.push(waiting);
    const removeHandler = whenAborted(signal, () => {
      this.#forget(waiting);
      waiting.reject(aborted(signal));
    });
    if (this.#starts.size < this.#waiting.length) this.#start();
    try {
      return await waiting.promise;
    } finally {
      removeHandler();
    }
  }

  #forget(waiting: Deferred<T>): void {
    const index = this.#waiting.indexOf(waiting);
    if (index >= 0) this.#waiting.splice(index, 1);
  }

  /** Starts an item of the stock, if one is missing and no other start runs. */
  #refill(): void {
    const isBusy = this.#starts.size > 0 || this.#closed.signal.aborted;
    if (!isBusy && this.#ready.length + this.#used < this.#options.size) this.#start();
  }

  #start(): void {
    const { start } = this.#options;
    const starting = start(this.#closed.signal).then(
      (item) => this.#deliver(item),
      (error: unknown) => this.#fail(error),
    );
    const settled = starting.finally(() => {
      this.#starts.delete(settled);
      if (this.#failures === 0) this.#refill();
    });
    this.#starts.add(settled);
  }

  async #deliver(item: T): Promise<void> {
    this.#failures = 0;
    this.#failure = undefined;
    const waiting = this.#closed.signal.aborted ? undefined : this.#waiting.shift();
    if (waiting !== undefined) {
      this.#used++;
      return waiting.resolve(item);
    }
    if (this.#closed.signal.aborted || this.#ready.length >= this.#options.size)
      return item[Symbol.asyncDispose]();
    this.#ready.push(item);
    if (this.#ready.length === this.#options.size) this.#filled.resolve(undefined);
    item.ended.then(() => this.#discard(item)).catch(() => undefined);
  }

  /** Removes an item that has ended by itself; one that was taken is the caller's. */
  async #discard(item: T): Promise<void> {
    const index = this.#ready.indexOf(item);
    if (index < 0) return;
    this.#ready.splice(index, 1);
    this.#retryLater(new LaunchError('a VMM of the pool exited before it was used'));
    await item[Symbol.asyncDispose]();
  }

  #fail(error: unknown): void {
    const reason = errorOf(error);
    // with more starts than callers, another start serves the caller
    if (this.#starts.size <= this.#waiting.length) this.#waiting.shift()?.reject(reason);
    this.#filled.reject(reason);
    this.#retryLater(reason);
  }

  #retryLater(error: Error): void {
    if (this.#closed.signal.aborted) return;
    this.#failure = error;
    const delay = this.#options.failureDelayMs * 2 ** Math.min(this.#failures, GROWTHS_MAX);
    this.#failures++;
    this.#after(delay, () => undefined);
  }

  /** Refills the stock after a delay, which does not keep the process running. */
  #after(delayMs: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
      this.#refill();
    }, delayMs).unref();
    this.#timers.add(timer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closed.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    const reason = new LaunchError('the pool is closed');
    this.#filled.reject(reason);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(reason);
    const ready = this.#ready.splice(0).map((item) => item[Symbol.asyncDispose]());
    await Promise.all([...ready, ...this.#starts]);
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw aborted(signal);
}

/** Calls `act` when a signal is aborted. @returns removes the handler */
function whenAborted(signal: AbortSignal | undefined, act: () => void): () => void {
  return signal === undefined ? () => undefined : onAbort(signal, act);
}

function aborted(signal: AbortSignal | undefined): LaunchError {
  return new LaunchError('the start was aborted', { cause: signal?.reason });
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new LaunchError(String(error));
}
