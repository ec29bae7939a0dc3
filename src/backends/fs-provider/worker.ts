// The thread of a share: it blocks in epoll_wait, and handles events, until the share is closed.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EPOLLET, EPOLLIN, openEventfd } from '../../native/epoll.ts';
import { libc, loadLibc } from '../../native/libc.ts';
import { acceptFrom } from '../../native/unix-socket.ts';
import type { Log } from '../../util/log.ts';
import { createLimiter, OUTSIDE_LIMIT } from '../../util/rate-limit.ts';
import { EventLoop } from '../event-loop.ts';
import { FsDevice } from '../fuse/device.ts';
import { Session } from '../vhost-user/session.ts';
import { RemoteFileSystem } from './remote-file-system.ts';
import type { FromThread, ShareThreadOptions, ToThread } from './thread-messages.ts';

/** Request queues that a front-end may use. */
const QUEUES = 16;

function post(message: FromThread): void {
  // a port of Node has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(message);
}

/** The main thread writes the lines of the log: this thread never gets to its streams. */
function logToMain(): Log {
  // a guest and a front-end can cause lines
  const limiter = createLimiter(OUTSIDE_LIMIT);
  const at = (level: keyof Log) => (message: string) => {
    if (limiter.take()) post({ kind: 'log', level, message });
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}

/** The connection of the front-end, one at a time. */
class FrontEnds {
  readonly #loop: EventLoop;
  readonly #device: FsDevice;
  readonly #log: Log;
  #session: Session | undefined;
  #isClosed = false;

  constructor({ loop, device, log }: { loop: EventLoop; device: FsDevice; log: Log }) {
    this.#loop = loop;
    this.#device = device;
    this.#log = log;
  }

  /** Accepts the connections that have arrived. A further one is closed: the device has one front-end. */
  accept(listener: number): void {
    for (let fd = acceptFrom(listener); fd >= 0; fd = acceptFrom(listener)) {
      if (this.#session === undefined && !this.#isClosed) this.#open(fd);
      else libc().close(fd);
    }
  }

  /** Accepts no further connection. The thread stops when the current one has ended. */
  close(): void {
    this.#isClosed = true;
    if (this.#session === undefined) this.#loop.stop();
  }

  [Symbol.dispose](): void {
    this.#session?.[Symbol.dispose]();
  }

  #open(fd: number): void {
    const onEnd = (): void => {
      this.#session = undefined;
      post({ kind: 'disconnected' });
      if (this.#isClosed) this.#loop.stop();
    };
    this.#session = new Session({ fd, loop: this.#loop, device: this.#device, log: this.#log, onEnd });
    post({ kind: 'connected' });
  }
}

/** Serves front-ends in this thread until the share is closed. */
function run({ listener, timeoutMs, concurrency }: ShareThreadOptions): void {
  const log = logToMain();
  const wake = openEventfd();
  let isReady = false;
  try {
    const files = new RemoteFileSystem({ post, timeoutMs, concurrency });
    using loop = new EventLoop();
    using device = new FsDevice({ files, queues: QUEUES, readonly: false, cache: 'auto', log });
    using frontEnds = new FrontEnds({ loop, device, log });
    loop.watch(listener, EPOLLIN | EPOLLET, () => frontEnds.accept(listener));
    loop.watch(wake, EPOLLIN | EPOLLET, () => {
      for (let message = nextMessage(); message !== undefined; message = nextMessage())
        obey(message, { loop, files, frontEnds });
    });
    post({ kind: 'ready', wake });
    isReady = true;
    loop.run(() => {
      const wait = device.settle();
      return wait === 0 ? 0 : files.expire();
    });
  } finally {
    // the main thread closes it once it has received it
    if (!isReady) libc().close(wake);
  }
}

/** Returns the next message to this thread, whose port of Node never gets to deliver one. */
function nextMessage(): ToThread | undefined {
  const received: { message: ToThread } | undefined =
    parentPort === null ? undefined : receiveMessageOnPort(parentPort);
  return received?.message;
}

interface Parts {
  readonly loop: EventLoop;
  readonly files: RemoteFileSystem;
  readonly frontEnds: FrontEnds;
}

function obey(message: ToThread, { loop, files, frontEnds }: Parts): void {
  switch (message.kind) {
    case 'result':
      return files.settle(message.id, message.outcome);
    case 'close':
      files.close();
      return frontEnds.close();
    case 'stop':
      return loop.stop();
  }
}

async function main(options: ShareThreadOptions): Promise<void> {
  const { close } = await loadLibc();
  try {
    run(options);
  } catch (error) {
    post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  } finally {
    close(options.listener);
  }
}

main(workerData).catch((error: unknown) => post({ kind: 'failed', message: String(error) }));
