/** State of a result: the functions that receive it, or the result itself. */
type State<T> = { readonly waiting: ((value: T) => void)[] } | { readonly value: T };

/**
 * A result that arrives later, for a thread that blocks in epoll_wait: the callbacks of promises do not run there. A function that is
 * passed to `then` is called when the result arrives, in the same call stack. It never fails: a failure is a result.
 */
export class Later<T> implements PromiseLike<T> {
  #state: State<T> = { waiting: [] };

  /** Returns a result that exists already. */
  static of<T>(value: T): Later<T> {
    const later = new Later<T>();
    later.settle(value);
    return later;
  }

  /** Sets the result, once. */
  settle(value: T): void {
    if ('value' in this.#state) return;
    const { waiting } = this.#state;
    this.#state = { value };
    for (const take of waiting) take(value);
  }

  /** Returns the result of a function that gets this result. */
  map<R>(convert: (value: T) => R): Later<R> {
    const result = new Later<R>();
    this.#take((value) => result.settle(convert(value)));
    return result;
  }

  /** Returns the later result of a function that gets this result. */
  chain<R>(next: (value: T) => Later<R>): Later<R> {
    const result = new Later<R>();
    this.#take((value) => next(value).#take((one) => result.settle(one)));
    return result;
  }

  /** `then` of a promise, except that an exception of `onValue` reaches the caller of `settle`. The protocol calls it; nothing awaits it. */
  // oxlint-disable-next-line unicorn/no-thenable
  then<R = T, E = never>(
    onValue?: ((value: T) => R | PromiseLike<R>) | null,
    _onError?: ((reason: unknown) => E | PromiseLike<E>) | null,
  ): PromiseLike<R | E> {
    const result = new Later<R | E>();
    this.#take((value) => {
      if (onValue === undefined || onValue === null) return;
      const next = onValue(value);
      if (isLater(next)) next.then((one) => result.settle(one));
      else result.settle(next);
    });
    return result;
  }

  #take(take: (value: T) => void): void {
    if ('value' in this.#state) take(this.#state.value);
    else this.#state.waiting.push(take);
  }
}

function isLater<R>(value: R | PromiseLike<R>): value is PromiseLike<R> {
  return typeof value === 'object' && value !== null && 'then' in value;
}
