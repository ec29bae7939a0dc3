import { closeSync } from 'node:fs';
import { Epoll, EPOLLET, EPOLLIN, EPOLLONESHOT, EPOLLOUT, openEventfd, signalEventfd } from './epoll.ts';
import { loadLibc } from './libc.ts';

/*
 * Readiness of descriptors on the main thread, for descriptors that libuv must not read: its streams close the descriptors that
 * arrive with bytes. One thread of libuv's pool waits in epoll_wait (main.ts makes the pool larger by it); it is woken by an eventfd.
 */

/** A descriptor that is watched until it can be read. */
export interface Watch {
  /** Asks for one call; to be asked again after each call. */
  readonly arm: () => void;
  /** Asks for one call when the other end is closed completely, whether there are bytes to read or not. */
  readonly armHangup: () => void;
  /** To be called before the descriptor is closed. */
  readonly remove: () => void;
  /** To be called after the descriptor was closed: the kernel has removed it, and its number may be another file's. */
  readonly forget: () => void;
}

/** Gets the state of a descriptor that has changed. A closed other end alone is neither. */
export type OnChange = (isReadable: boolean, isWritable: boolean) => void;

/** Calls handlers when descriptors can be read or written. */
export interface Readiness {
  readonly watch: (fd: number, onReadable: () => void) => Watch;
  /** Calls `onChange` each time the descriptor becomes readable or writable, or its other end is closed. */
  readonly watchChanges: (fd: number, onChange: OnChange) => Pick<Watch, 'remove'>;
  /** Releases this user's share of the epoll descriptor. */
  readonly close: () => void;
}

/** One epoll descriptor for all users in the process, which is closed with the last of them. */
let shared: { users: number; readonly poller: Promise<Poller> } | undefined;

/** Opens a handle to the process's epoll descriptor. */
export async function createReadiness(): Promise<Readiness> {
  shared ??= { users: 0, poller: createPoller() };
  const own = shared;
  own.users++;
  const release = (): void => {
    if (--own.users > 0) return;
    if (shared === own) shared = undefined;
    void own.poller.then((poller) => poller.close()).catch(() => undefined);
  };
  const { epoll } = await own.poller.catch((error: unknown) => {
    release();
    throw error;
  });
  return {
    watch: (fd, onReadable) => {
      const events = EPOLLIN | EPOLLONESHOT;
      const { rearm, remove, forget } = epoll.add(fd, events, onReadable);
      // the kernel always reports EPOLLHUP
      return { arm: () => rearm(events), armHangup: () => rearm(EPOLLONESHOT), remove, forget };
    },
    watchChanges: (fd, onChange) =>
      epoll.add(fd, EPOLLIN | EPOLLOUT | EPOLLET, (events) =>
        onChange((events & EPOLLIN) !== 0, (events & EPOLLOUT) !== 0),
      ),
    close: release,
  };
}

interface Poller {
  readonly epoll: Epoll;
  readonly close: () => void;
}

async function createPoller(): Promise<Poller> {
  await loadLibc();
  const epoll = new Epoll();
  let wakeup: number;
  try {
    wakeup = openEventfd();
  } catch (error) {
    epoll[Symbol.dispose]();
    throw error;
  }
  epoll.add(wakeup, EPOLLIN, () => undefined);
  let isClosed = false;
  const wake = (): void => signalEventfd(wakeup);
  const wait = (): void => {
    epoll.waitAsync((count) => {
      if (isClosed) {
        process.removeListener('exit', wake);
        epoll[Symbol.dispose]();
        closeSync(wakeup);
        return;
      }
      epoll.dispatch(count);
      wait();
    });
  };
  // the process exits only when the thread has returned from epoll_wait
  process.on('exit', wake);
  wait();
  return {
    epoll,
    close: () => {
      isClosed = true;
      wake();
    },
  };
}
