/** Waits that all take the same time: the one that began first ends first. */
export class Deadlines<T> {
  readonly #delay: number;
  readonly #ends = new Map<T, number>();

  /** `delay` in `ms` */
  constructor(delay: number) {
    this.#delay = delay;
  }

  /** Begins an item's wait, unless it waits already. */
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

  /** Takes out what has waited long enough. */
  *expired(now: number): Generator<T> {
    for (const [item, end] of this.#ends) {
      if (end > now) return;
      this.#ends.delete(item);
      yield item;
    }
  }

  /** Until the next one ends, in `ms`; undefined where nothing waits */
  next(now: number): number | undefined {
    for (const end of this.#ends.values()) return Math.max(0, Math.ceil(end - now));
    return undefined;
  }
}
