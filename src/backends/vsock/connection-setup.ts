import type { EventLoop, Watch } from '../event-loop.ts';
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLRDHUP } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { EAGAIN } from '../../native/system-error.ts';
import { Deadlines } from './deadlines.ts';
import { readGreeting } from './connect-request.ts';
import type { Resets } from './resets.ts';
import { MAX_CONNECTIONS, type Connections } from './connections.ts';
import { acceptFrom, connectTo } from '../../native/unix-socket.ts';

/** Where a program of the host is asked again that has as many waiting as it allows: after so many `ms`, so often. */
const RETRY = { ms: 10, times: 200 };

/** Nothing more comes from the other end. */
const GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

/** How long a program may take to say which port it wants, in `ms`: enough to type it by hand. */
const GREETING_MS = 30_000;

/** After this many `ms` is tried again to accept, where this process could not have one more descriptor. */
const SHORTAGE_MS = 100;

/** No more connections are accepted in one turn. */
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

/** How connections come about: programs of the host ask for a port of the guest's, and the guest for one of theirs. */
export class ConnectionSetup {
  readonly #path: string;
  readonly #listener: number;
  readonly #loop: EventLoop;
  readonly #streams: Connections;
  readonly #resets: Resets;
  readonly #block: Block = allocate(64);
  /** programs that have not said yet which port they want, the oldest first */
  readonly #greeting = new Map<number, Watch>();
  readonly #greetingEnds = new Deadlines<number>(GREETING_MS);
  readonly #shortage = new Deadlines<'descriptors'>(SHORTAGE_MS);
  readonly #attempts = new Deadlines<Attempt>(RETRY.ms);
  readonly #watch: Watch;
  #isOpen = false;
  #isKnocking = false;

  constructor({ path, listener, loop, streams, resets }: Options) {
    this.#path = path;
    this.#listener = listener;
    this.#loop = loop;
    this.#streams = streams;
    this.#resets = resets;
    this.#watch = loop.watch(listener, EPOLLIN | EPOLLET, () => {
      this.#isKnocking = true;
    });
  }

  /** Until the guest's driver is there, programs that connect wait. */
  open(): void {
    this.#isOpen = true;
    this.#isKnocking = true;
  }

  pause(): void {
    this.#isOpen = false;
  }

  reset(): void {
    for (const fd of this.#greeting.keys()) this.#turnAway(fd);
    this.#attempts.clear();
  }

  /** Accepts those that wait. @returns true where there may be more */
  accept(): boolean {
    for (let i = 0; i < BUDGET && this.#isOpen && this.#isKnocking; i++) {
      const fd = acceptFrom(this.#listener);
      if (fd < 0) {
        this.#isKnocking = false;
        if (fd !== -EAGAIN) this.#shortage.start('descriptors', performance.now());
        break;
      }
      this.#makeRoom();
      if (this.#isFull) libc().close(fd);
      else this.#greet(fd);
    }
    return this.#isOpen && this.#isKnocking;
  }

  /** The guest asks for a port of the host's. */
  dial(attempt: Omit<Attempt, 'times'>): void {
    this.#try({ ...attempt, times: 0 });
  }

  /** Gives up what has taken too long, and tries again what may go now. */
  retry(now: number): void {
    for (const fd of this.#greetingEnds.expired(now)) this.#turnAway(fd);
    for (const _ of this.#shortage.expired(now)) this.#isKnocking = true;
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
    return this.#streams.count + this.#greeting.size + this.#attempts.size >= MAX_CONNECTIONS;
  }

  /** Where all places are taken, the program that has said nothing for longest loses its place. */
  #makeRoom(): void {
    const [oldest] = this.#greeting.keys();
    if (this.#isFull && oldest !== undefined) this.#turnAway(oldest);
  }

  #greet(fd: number): void {
    const watch = this.#loop.watch(fd, EPOLLIN | EPOLLRDHUP | EPOLLET, (events) => {
      const port = readGreeting(fd, this.#block);
      if (port === 'more' && (events & GONE) === 0) return;
      if (port === 'more' || port === 'wrong') return this.#turnAway(fd);
      this.#forget(fd);
      this.#streams.open({
        fd,
        guestPort: port,
        hostPort: this.#streams.freeHostPort(port),
        fromGuest: false,
      });
    });
    this.#greeting.set(fd, watch);
    this.#greetingEnds.start(fd, performance.now());
  }

  #turnAway(fd: number): void {
    this.#forget(fd);
    libc().close(fd);
  }

  /** It no longer counts as one that has to say something. */
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
      this.#streams
        .open({ fd, guestPort, hostPort, fromGuest: true })
        .credit.learn(header.window, header.forwarded);
    }
  }
}
