import { loadNative } from './load.ts';

/** sys/epoll.h, sys/eventfd.h */
const EPOLLIN = 0x1;
const EPOLLOUT = 0x4;
const EPOLLONESHOT = 0x4000_0000;
const EPOLLET = 0x8000_0000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = 0o2000000;

/** struct epoll_event is packed on x86-64: events, then 8 bytes of user data. */
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
  /** Calls `onChange` each time the descriptor becomes readable or writable, or its other end is closed. */
  readonly watchChanges: (fd: number, onChange: (isReadable: boolean) => void) => Pick<Watch, 'remove'>;
  /** Nothing is told any more. */
  readonly close: () => void;
}

/** One epoll descriptor, and one thread of libuv's pool (main.ts makes the pool larger by it), for all users of the process. */
let shared: { users: number; readonly poller: Promise<Poller> } | undefined;

/** Opens a handle to the process's epoll descriptor, which is closed with the last handle. */
export async function createReadiness(): Promise<Readiness> {
  shared ??= { users: 0, poller: createPoller() };
  const own = shared;
  own.users++;
  const release = (): void => {
    if (--own.users > 0) return;
    if (shared === own) shared = undefined;
    void own.poller.then((poller) => poller.close()).catch(() => undefined);
  };
  const poller = await own.poller.catch((error: unknown) => {
    release();
    throw error;
  });
  return {
    watch: (fd, onReadable) => watchOf(poller.add(fd, onReadable), EPOLLIN | EPOLLONESHOT),
    watchChanges: (fd, onChange) => {
      const registration = poller.add(fd, (events) => onChange((events & EPOLLIN) !== 0));
      return watchOf(registration, EPOLLIN | EPOLLOUT | EPOLLET);
    },
    close: release,
  };
}

/** What the kernel is told about one descriptor. */
interface Registration {
  readonly tell: (operation: number, events: number) => void;
  readonly forget: () => void;
}

interface Poller {
  readonly add: (fd: number, onEvent: (events: number) => void) => Registration;
  readonly close: () => void;
}

async function createPoller(): Promise<Poller> {
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
  const watched = new Map<number, (events: number) => void>();
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
      for (const [token, mask] of eventsIn(events, Number(count))) watched.get(token)?.(mask);
      wait();
    });
  };
  // a thread that waits for ever would hold up the end of the process
  process.on('exit', wake);
  wait();

  return {
    add: (fd, onEvent) => {
      const token = nextToken++;
      watched.set(token, onEvent);
      return {
        tell: (operation, events) => void control(epoll, operation, fd, eventOf(events, token)),
        forget: () => void watched.delete(token),
      };
    },
    close: () => {
      isClosed = true;
      wake();
    },
  };
}

function watchOf({ tell, forget }: Registration, events: number): Watch {
  tell(EPOLL_CTL_ADD, events);
  return {
    arm: () => tell(EPOLL_CTL_MOD, events),
    remove: () => {
      forget();
      tell(EPOLL_CTL_DEL, 0);
    },
    forget,
  };
}

/** Token and event mask of each event that a wait has brought. */
function eventsIn(events: Buffer, count: number): (readonly [number, number])[] {
  return Array.from({ length: Math.max(0, count) }, (_, i) => [
    events.readUInt32LE(i * EVENT_BYTES + 4),
    events.readUInt32LE(i * EVENT_BYTES),
  ]);
}

function eventOf(events: number, token: number): Buffer {
  const event = Buffer.alloc(EVENT_BYTES);
  event.writeUInt32LE(events >>> 0, 0);
  event.writeUInt32LE(token, 4);
  return event;
}
