import {
  allocate,
  checked,
  close,
  EINTR,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  epollControl,
  epollWait,
  errno,
  openEpoll,
  systemError,
  type Block,
} from '../native/libc.ts';

/** How many events one wait brings at most. */
const EVENTS = 64;

/** `struct epoll_event` on x86-64 is packed: 32 bits of events, 64 of data. */
const EVENT_BYTES = 12;

/** Takes what epoll says about one descriptor, a mask of EPOLL*. */
export type Ready = (events: number) => void;

/** What is watched until `stop`. */
export interface Watch {
  readonly stop: () => void;
}

/**
 * Waits for descriptors in one thread, blocked in the kernel while there is nothing to do.
 * Nothing else runs in that thread: no timers, promises or ports of Node's.
 */
export class EventLoop {
  readonly #epoll = openEpoll();
  readonly #events: Block = allocate(EVENTS * EVENT_BYTES);
  readonly #ready = new Map<number, Ready>();
  #nextToken = 1;
  #stopped = false;

  /** Calls `ready` whenever one of the events is there; a handler is never called after its `stop`. */
  watch(fd: number, events: number, ready: Ready): Watch {
    // a number that is never used again: what was reported for a closed descriptor reaches nobody
    const token = this.#nextToken++;
    const event = new DataView(new ArrayBuffer(EVENT_BYTES));
    event.setUint32(0, events, true);
    event.setUint32(4, token, true);
    const bytes = new Uint8Array(event.buffer);
    checked('epoll_ctl', epollControl(this.#epoll, EPOLL_CTL_ADD, fd, bytes));
    this.#ready.set(token, ready);
    return {
      stop: () => {
        if (!this.#ready.delete(token)) return;
        epollControl(this.#epoll, EPOLL_CTL_DEL, fd, bytes);
      },
    };
  }

  /**
   * Handles events until `stop`. After each batch `settle` is called, and says in how many `ms` it wants to be
   * called again if nothing happens: 0 at once, -1 not at all.
   */
  run(settle: () => number): void {
    let timeout = settle();
    while (!this.#stopped) {
      this.#handle(timeout);
      timeout = settle();
    }
  }

  #handle(timeout: number): void {
    const count = epollWait(this.#epoll, this.#events.address, EVENTS, timeout);
    if (count < 0 && errno() !== EINTR) throw systemError('epoll_wait');
    for (let i = 0; i < count; i++) {
      const token = this.#events.view.getUint32(i * EVENT_BYTES + 4, true);
      this.#ready.get(token)?.(this.#events.view.getUint32(i * EVENT_BYTES, true));
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  [Symbol.dispose](): void {
    close(this.#epoll);
    this.#events.free();
  }
}
