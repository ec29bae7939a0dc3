import { libc } from './libc.ts';
import { allocate, type Block } from './memory.ts';
import { checked } from './system-error.ts';

/** Values of Linux (sys/epoll.h, sys/eventfd.h). */
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2_000_000;
const EFD_CLOEXEC = 0o2_000_000;
const EFD_NONBLOCK = 0o4_000;

/** `struct epoll_event` on x86-64 is packed: 32 bits of events, 64 of data. */
const EVENT_BYTES = 12;

/** Most events that one wait returns. */
const EVENTS = 64;

/** A handler of the events of one descriptor, which are a mask of EPOLL*. */
export type OnEvents = (events: number) => void;

/** A descriptor in the interest list. */
export interface Registration {
  /** Asks for these events again, as EPOLLONESHOT needs after each one. */
  readonly rearm: (events: number) => void;
  /** Calls the handler no more, and removes the descriptor, which is still open. */
  readonly remove: () => void;
  /** Calls the handler no more. For a descriptor that is closed: the kernel has removed it, and its number may be another file's. */
  readonly forget: () => void;
}

/** An epoll descriptor with its interest list. A handler is never called after its `remove` or `forget`. */
export class Epoll {
  readonly #fd = checked('epoll_create1', libc().epoll_create1(EPOLL_CLOEXEC));
  /** events of a wait, and behind them the event of an epoll_ctl */
  readonly #events: Block = allocate((EVENTS + 1) * EVENT_BYTES);
  readonly #handlers = new Map<number, OnEvents>();
  #nextToken = 1;

  /** Adds a descriptor. @throws the system's error where it cannot be watched */
  add(fd: number, events: number, onEvents: OnEvents): Registration {
    // never used again: an event that was reported for a closed descriptor has no handler
    const token = this.#nextToken++;
    checked('epoll_ctl', this.#control(EPOLL_CTL_ADD, fd, { events, token }));
    this.#handlers.set(token, onEvents);
    return {
      rearm: (next) => void this.#control(EPOLL_CTL_MOD, fd, { events: next, token }),
      remove: () => {
        if (this.#handlers.delete(token)) this.#control(EPOLL_CTL_DEL, fd, { events: 0, token });
      },
      forget: () => void this.#handlers.delete(token),
    };
  }

  /** Blocks this thread until there are events, `timeout` milliseconds at most (-1: no limit). @returns their number, or -1 with errno */
  wait(timeout: number): number {
    return libc().epoll_wait(this.#fd, this.#events.address, EVENTS, timeout);
  }

  /** Waits on a thread of koffi; there must be one wait at a time. `done` gets the number of events, or -1. */
  waitAsync(done: (count: number) => void): void {
    libc().epoll_wait.async(this.#fd, this.#events.address, EVENTS, -1, (_error, count) =>
      done(Number(count)),
    );
  }

  /** Calls the handlers of the events of the last wait. */
  dispatch(count: number): void {
    const { view } = this.#events;
    for (let i = 0; i < count; i++) {
      const token = view.getUint32(i * EVENT_BYTES + 4, true);
      this.#handlers.get(token)?.(view.getUint32(i * EVENT_BYTES, true));
    }
  }

  [Symbol.dispose](): void {
    libc().close(this.#fd);
    this.#events.free();
  }

  #control(operation: number, fd: number, { events, token }: { events: number; token: number }): number {
    const { view, address } = this.#events;
    const at = EVENTS * EVENT_BYTES;
    view.setUint32(at, events, true);
    view.setUint32(at + 4, token, true);
    view.setUint32(at + 8, 0, true);
    return libc().epoll_ctl(this.#fd, operation, fd, address + at);
  }
}

/** Opens a counter that a thread waits for with epoll and another one wakes it by. */
export function openEventfd(): number {
  return checked('eventfd', libc().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/** Adds to an eventfd's counter. */
export function signalEventfd(fd: number): void {
  libc().eventfd_write(fd, 1);
}
