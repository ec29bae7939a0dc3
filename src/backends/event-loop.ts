import { Epoll, type OnEvents } from '../native/epoll.ts';
import { callError, EINTR, errno } from '../native/system-error.ts';

/** A watched descriptor. */
export interface Watch {
  /** Calls the handler no more; to be called before the descriptor is closed. */
  readonly stop: () => void;
}

/**
 * Waits for descriptors in one thread, which blocks in the kernel while there is nothing to do.
 * Nothing else runs in that thread: no timers, promises or message ports of Node.
 */
export class EventLoop {
  readonly #epoll = new Epoll();
  #stopped = false;

  /** Calls `onEvents` whenever one of the events occurs; a handler is never called after its `stop`. */
  watch(fd: number, events: number, onEvents: OnEvents): Watch {
    const { remove } = this.#epoll.add(fd, events, onEvents);
    return { stop: remove };
  }

  /**
   * Handles events until `stop`. After each batch `settle` is called; it returns after how many milliseconds it is called again
   * where no event occurs: 0 at once, -1 never.
   */
  run(settle: () => number): void {
    let timeout = settle();
    while (!this.#stopped) {
      const count = this.#epoll.wait(timeout);
      if (count < 0 && errno() !== EINTR) throw callError('epoll_wait');
      this.#epoll.dispatch(count);
      timeout = settle();
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }
}
