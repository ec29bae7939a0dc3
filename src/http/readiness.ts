import { loadNative } from '../util/native.ts';

/** sys/epoll.h, sys/eventfd.h */
const EPOLLIN = 0x1;
const EPOLLONESHOT = 0x4000_0000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = 0o2000000;

/** struct epoll_event is packed on x86-64: events, then 8 bytes of ours. */
const EVENT_BYTES = 12;
const EVENTS = 64;
const WAKE = 0;

/** A descriptor that is watched until it can be read. */
export interface Watch {
  /** Asks to be told once; to be asked again after each time. */
  readonly arm: () => void;
  /** Before the descriptor is closed. */
  readonly remove: () => void;
  /** After it was closed: the kernel has let it go, and its number may be another's by now. */
  readonly forget: () => void;
}

/** Tells when descriptors can be read, without reading them as libuv's streams would. */
export interface Readiness {
  readonly watch: (fd: number, onReadable: () => void) => Watch;
  /** Nothing is told any more. */
  readonly close: () => void;
}

/** The wait is in a thread of libuv's pool, of which it takes one (main.ts makes the pool larger by it). */
export async function createReadiness(): Promise<Readiness> {
  const { libc } = await loadNative();
  const epollWait = libc.func('int epoll_wait(int, void *, int, int)');
  const control: (epoll: number, operation: number, fd: number, event: Buffer) => number = libc.func(
    'int epoll_ctl(int, int, int, void *)',
  );
  const close: (fd: number) => number = libc.func('int close(int)');
  const epoll = Number(libc.func('int epoll_create1(int)')(EPOLL_CLOEXEC));
  const bell = Number(libc.func('int eventfd(unsigned int, int)')(0, EFD_CLOEXEC));
  const ring = libc.func('int eventfd_write(int, uint64_t)');
  if (epoll < 0 || bell < 0) throw new Error('the kernel gives no epoll descriptor');
  control(epoll, EPOLL_CTL_ADD, bell, eventOf(EPOLLIN, WAKE));

  const events = Buffer.alloc(EVENTS * EVENT_BYTES);
  const watched = new Map<number, () => void>();
  let nextToken = WAKE + 1;
  let isClosed = false;

  const wake = (): void => void ring(bell, 1);
  const wait = (): void => {
    epollWait.async(epoll, events, EVENTS, -1, (_error: unknown, count: unknown) => {
      if (isClosed) {
        process.removeListener('exit', wake);
        close(epoll);
        close(bell);
        return;
      }
      for (const token of tokensOf(events, Number(count))) watched.get(token)?.();
      wait();
    });
  };
  // a thread that waits for ever would hold up the end of the process
  process.on('exit', wake);
  wait();

  return {
    watch: (fd, onReadable) => {
      const token = nextToken++;
      watched.set(token, onReadable);
      const tell = (operation: number, events: number): void =>
        void control(epoll, operation, fd, eventOf(events, token));
      return watchOf(tell, () => void watched.delete(token));
    },
    close: () => {
      isClosed = true;
      wake();
    },
  };
}

/** `tell` tells the kernel about one descriptor. */
function watchOf(tell: (operation: number, events: number) => void, forget: () => void): Watch {
  tell(EPOLL_CTL_ADD, EPOLLIN | EPOLLONESHOT);
  return {
    arm: () => tell(EPOLL_CTL_MOD, EPOLLIN | EPOLLONESHOT),
    remove: () => {
      forget();
      tell(EPOLL_CTL_DEL, 0);
    },
    forget,
  };
}

function tokensOf(events: Buffer, count: number): number[] {
  return Array.from({ length: Math.max(0, count) }, (_, i) => events.readUInt32LE(i * EVENT_BYTES + 4));
}

function eventOf(events: number, token: number): Buffer {
  const event = Buffer.alloc(EVENT_BYTES);
  event.writeUInt32LE(events >>> 0, 0);
  event.writeUInt32LE(token, 4);
  return event;
}
