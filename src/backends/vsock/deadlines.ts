/** Deadlines of items with the same delay: the one that started first expires first. */
export class Deadlines<T> {
  readonly #delay: number;
  readonly #ends = new Map<T, number>();

  /** `delay` in `ms` */
  constructor(delay: number) {
    this.#delay = delay;
  }

  /** Starts an item's deadline, unless it is running already. */
  start(item: T, now: number): void {
    if (!this.#ends.has(item)) this.#ends.set(item, now + this.#delay);
  }

  get size(): number {
    return this.#ends.size;
  }

  clear(): void {
    this.#ends.clear();
  }

  cancel(item: T): void {
    this.#ends.delete(item);
  }

  /** Removes the expired items. */
  *expired(now: number): Generator<T> {
    for (const [item, end] of this.#ends) {
      if (end > now) return;
      this.#ends.delete(item);
      yield item;
    }
  }

  /** Returns the time until the next one expires, in `ms`; undefined where there is none. */
  next(now: number): number | undefined {
    for (const end of this.#ends.values()) return Math.max(0, Math.ceil(end - now));
    return undefined;
  }
}
