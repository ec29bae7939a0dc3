import type { EventLoop, Watch } from '../event-loop.ts';
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLRDHUP } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { EAGAIN } from '../../native/system-error.ts';
import { Deadlines } from './deadlines.ts';
import { readConnectLine } from './connect-request.ts';
import type { Resets } from './resets.ts';
import { MAX_CONNECTIONS, type Connections } from './connections.ts';
import { acceptFrom, connectTo } from '../../native/unix-socket.ts';

/** Retries of a connection to a program of the host whose backlog is full: delay in `ms`, and number. */
const RETRY = { ms: 10, times: 200 };

/** The other end has shut down its sending side. */
const HANG_UP = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

/** Time limit for a program's CONNECT line, in `ms`: enough to type it by hand. */
const CONNECT_MS = 30_000;

/** Delay before accepting again where this process has no descriptors left, in `ms`. */
const SHORTAGE_MS = 100;

/** Most connections that are accepted in one call. */
const BUDGET = 64;

interface Options {
  /** path of the socket; the guest's connections to port N go to `<path>_N` */
  readonly path: string;
  readonly listener: number;
  readonly loop: EventLoop;
  readonly streams: Connections;
  readonly resets: Resets;
}

interface Attempt {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly header: { readonly window: number; readonly forwarded: number };
  readonly times: number;
}

/** Sets up connections: programs of the host connect to a port of the guest, and the guest to one of theirs. */
export class ConnectionSetup {
  readonly #path: string;
  readonly #listener: number;
  readonly #loop: EventLoop;
  readonly #connections: Connections;
  readonly #resets: Resets;
  readonly #block: Block = allocate(64);
  /** programs whose CONNECT line has not arrived yet, the oldest first */
  readonly #greeting = new Map<number, Watch>();
  readonly #greetingEnds = new Deadlines<number>(CONNECT_MS);
  readonly #shortage = new Deadlines<'descriptors'>(SHORTAGE_MS);
  readonly #attempts = new Deadlines<Attempt>(RETRY.ms);
  readonly #watch: Watch;
  #isOpen = false;
  #mayAccept = false;

  constructor({ path, listener, loop, streams, resets }: Options) {
    this.#path = path;
    this.#listener = listener;
    this.#loop = loop;
    this.#connections = streams;
    this.#resets = resets;
    this.#watch = loop.watch(listener, EPOLLIN | EPOLLET, () => {
      this.#mayAccept = true;
    });
  }

  /** Accepts programs from now on: before, they wait for the guest's driver. */
  open(): void {
    this.#isOpen = true;
    this.#mayAccept = true;
  }

  pause(): void {
    this.#isOpen = false;
  }

  reset(): void {
    for (const fd of this.#greeting.keys()) this.#reject(fd);
    this.#attempts.clear();
  }

  /** Accepts waiting programs. @returns true where more may wait */
  accept(): boolean {
    for (let i = 0; i < BUDGET && this.#isOpen && this.#mayAccept; i++) {
      const fd = acceptFrom(this.#listener);
      if (fd < 0) {
        this.#mayAccept = false;
        if (fd !== -EAGAIN) this.#shortage.start('descriptors', performance.now());
        break;
      }
      this.#limitPending();
      if (this.#isFull) libc().close(fd);
      else this.#greet(fd);
    }
    return this.#isOpen && this.#mayAccept;
  }

  /** The guest connects to a port of the host. */
  dial(attempt: Omit<Attempt, 'times'>): void {
    this.#try({ ...attempt, times: 0 });
  }

  /** Rejects programs whose deadline is over, and retries what is due. */
  retry(now: number): void {
    for (const fd of this.#greetingEnds.expired(now)) this.#reject(fd);
    for (const _ of this.#shortage.expired(now)) this.#mayAccept = true;
    for (const attempt of this.#attempts.expired(now)) this.#try(attempt);
  }

  nextRetry(now: number): number | undefined {
    const waits = [this.#attempts, this.#greetingEnds, this.#shortage].map((one) => one.next(now));
    const ends = waits.filter((wait) => wait !== undefined);
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  [Symbol.dispose](): void {
    this.reset();
    this.#watch.stop();
    this.#block.free();
  }

  get #isFull(): boolean {
    return this.#connections.count + this.#greeting.size + this.#attempts.size >= MAX_CONNECTIONS;
  }

  /** At the limit of connections, closes the oldest one without a CONNECT line. */
  #limitPending(): void {
    const [oldest] = this.#greeting.keys();
    if (this.#isFull && oldest !== undefined) this.#reject(oldest);
  }

  #greet(fd: number): void {
    const watch = this.#loop.watch(fd, EPOLLIN | EPOLLRDHUP | EPOLLET, (events) => {
      const port = readConnectLine(fd, this.#block);
      if (port === 'more' && (events & HANG_UP) === 0) return;
      if (port === 'more' || port === 'wrong') return this.#reject(fd);
      this.#forget(fd);
      this.#connections.open({
        fd,
        guestPort: port,
        hostPort: this.#connections.freeHostPort(port),
        fromGuest: false,
      });
    });
    this.#greeting.set(fd, watch);
    this.#greetingEnds.start(fd, performance.now());
  }

  #reject(fd: number): void {
    this.#forget(fd);
    libc().close(fd);
  }

  /** The program no longer has to send a CONNECT line. */
  #forget(fd: number): void {
    this.#greeting.get(fd)?.stop();
    this.#greeting.delete(fd);
    this.#greetingEnds.cancel(fd);
  }

  #try(attempt: Attempt): void {
    const { guestPort, hostPort, header, times } = attempt;
    const fd = this.#isFull ? -1 : connectTo(`${this.#path}_${hostPort}`);
    if (fd === -EAGAIN && times < RETRY.times) {
      this.#attempts.start({ ...attempt, times: times + 1 }, performance.now());
    } else if (fd < 0) {
      this.#resets.add(guestPort, hostPort);
    } else {
      this.#connections
        .open({ fd, guestPort, hostPort, fromGuest: true })
        .credit.update(header.window, header.forwarded);
    }
  }
}
