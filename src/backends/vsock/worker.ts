// The thread of a vsock device: it blocks in epoll_wait, and handles events, until it receives `stop`.
import { closeSync } from 'node:fs';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EPOLLET, EPOLLIN, openEventfd } from '../../native/epoll.ts';
import { libc, loadLibc } from '../../native/libc.ts';
import type { Log } from '../../util/log.ts';
import { EventLoop } from '../event-loop.ts';
import { Sessions } from '../vhost-user/sessions.ts';
import { VsockDevice } from './device.ts';
import type { FromWorker, ToWorker, VsockOptions } from './thread-messages.ts';

function post(message: FromWorker): void {
  // a port of Node has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(message);
}

/** The main thread writes the lines of the log: this thread never gets to its streams. */
function logToMain(): Log {
  const at = (level: keyof Log) => (message: string) => post({ kind: 'log', level, message });
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}

/** Runs the device in this thread until it receives `stop`. */
function run({ cid, socket: path, listener }: VsockOptions): void {
  const log = logToMain();
  const wake = openEventfd();
  let isReady = false;
  try {
    using loop = new EventLoop();
    using device = new VsockDevice({ cid, path, listener, loop, log });
    using sessions = new Sessions({ loop, device, log });
    loop.watch(wake, EPOLLIN | EPOLLET, () => {
      for (let message = nextMessage(); message !== undefined; message = nextMessage())
        obey(message, { loop, device, sessions });
    });
    post({ kind: 'ready', frontEnd: sessions.open(), wake });
    isReady = true;
    loop.run(() => device.settle());
  } finally {
    // the main thread closes it once it has received it
    if (!isReady) libc().close(wake);
  }
}

/** Returns the next message to this thread, whose port of Node never gets to deliver one. */
function nextMessage(): ToWorker | undefined {
  const received: { message: ToWorker } | undefined =
    parentPort === null ? undefined : receiveMessageOnPort(parentPort);
  return received?.message;
}

interface Parts {
  readonly loop: EventLoop;
  readonly device: VsockDevice;
  readonly sessions: Sessions;
}

function obey(message: ToWorker, { loop, device, sessions }: Parts): void {
  switch (message.kind) {
    case 'stop':
      return loop.stop();
    case 'report':
      return post({ kind: 'handover-state', state: device.handoverState });
    case 'reconnect':
      if (message.previous !== undefined) device.follow(message.previous);
      return post({ kind: 'reconnected', frontEnd: sessions.renew() });
  }
}

async function main(options: VsockOptions): Promise<void> {
  // Node prints a warning where a thread closes a descriptor that it has not opened by Node
  let close: (fd: number) => unknown = closeSync;
  try {
    ({ close } = await loadLibc());
    run(options);
  } catch (error) {
    post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  } finally {
    close(options.listener);
  }
}

main(workerData).catch((error: unknown) => post({ kind: 'failed', message: String(error) }));
