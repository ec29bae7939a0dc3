// The thread of a share: it blocks in epoll_wait, and handles events, until the share is closed.
import { workerData } from 'node:worker_threads';
import { EPOLLET, EPOLLIN } from '../../native/epoll.ts';
import { libc, loadLibc } from '../../native/libc.ts';
import { acceptFrom } from '../../native/unix-socket.ts';
import type { Log } from '../../util/log.ts';
import { createLimiter, OUTSIDE_LIMIT } from '../../util/rate-limit.ts';
import type { EventLoop } from '../event-loop.ts';
import { FsDevice } from '../fuse/device.ts';
import { postFailure, postToMain, runLoop } from '../thread-loop.ts';
import { Session } from '../vhost-user/session.ts';
import { RemoteFileSystem } from './remote-file-system.ts';
import type { FromThread, ShareCommand, ShareThreadOptions } from './thread-messages.ts';

/** Request queues that a front-end may use. */
const QUEUES = 16;

function post(message: FromThread): void {
  postToMain(message);
}

/** Limits the lines of a log: a guest and a front-end can cause them. */
function limited(log: Log): Log {
  const limiter = createLimiter(OUTSIDE_LIMIT);
  const at = (level: keyof Log) => (message: string) => {
    if (limiter.take()) log[level](message);
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
  runLoop<ShareCommand>(({ loop, log: unlimited }, serve) => {
    const log = limited(unlimited);
    const files = new RemoteFileSystem({ post, timeoutMs, concurrency });
    using device = new FsDevice({ files, queues: QUEUES, readonly: false, cache: 'auto', log });
    using frontEnds = new FrontEnds({ loop, device, log });
    loop.watch(listener, EPOLLIN | EPOLLET, () => frontEnds.accept(listener));
    serve({
      ready: { kind: 'ready' },
      obey: (command) => obey(command, { files, frontEnds }),
      settle: () => {
        const wait = device.settle();
        return wait === 0 ? 0 : files.expire();
      },
    });
  });
}

interface Parts {
  readonly files: RemoteFileSystem;
  readonly frontEnds: FrontEnds;
}

function obey(command: ShareCommand, { files, frontEnds }: Parts): void {
  switch (command.kind) {
    case 'result':
      return files.settle(command.id, command.outcome);
    case 'close':
      files.close();
      return frontEnds.close();
  }
}

async function main(options: ShareThreadOptions): Promise<void> {
  const { close } = await loadLibc();
  try {
    run(options);
  } catch (error) {
    postFailure(error);
  } finally {
    close(options.listener);
  }
}

main(workerData).catch(postFailure);
