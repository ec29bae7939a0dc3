// The thread of a vsock device: it blocks in the kernel and does what comes up, until it is told to end.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Log } from '../../util/log.ts';
import { EventLoop } from '../event-loop.ts';
import { close, EPOLLET, EPOLLIN, openEventfd } from '../../native/libc.ts';
import { Sessions } from '../vhost-user/sessions.ts';
import { VsockDevice } from './device.ts';
import type { FromWorker, ToWorker, VsockOptions } from './thread-messages.ts';

function post(message: FromWorker): void {
  // a port of Node's has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(message);
}

/** Lines of log are the main thread's to write: this one never comes to its streams. */
function logToMain(): Log {
  const at = (level: keyof Log) => (message: string) => post({ kind: 'log', level, message });
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}

function run({ cid, socket: path, listener }: VsockOptions): void {
  const log = logToMain();
  let wake = -1;
  let isReady = false;
  try {
    wake = openEventfd();
    using loop = new EventLoop();
    using device = new VsockDevice({ cid, path, listener, loop, log });
    using sessions = new Sessions({ loop, device, log });
    loop.watch(wake, EPOLLIN | EPOLLET, () => {
      for (let told = nextTold(); told !== undefined; told = nextTold())
        obey(told, { loop, device, sessions });
    });
    post({ kind: 'ready', frontEnd: sessions.open(), wake });
    isReady = true;
    loop.run(() => device.settle());
  } finally {
    close(listener);
    // the main thread closes it after that
    if (wake >= 0 && !isReady) close(wake);
  }
}

/** A message that has come to this thread, which has no turn of Node's to get it in. */
function nextTold(): ToWorker | undefined {
  const received: { message: ToWorker } | undefined =
    parentPort === null ? undefined : receiveMessageOnPort(parentPort);
  return received?.message;
}

interface Parts {
  readonly loop: EventLoop;
  readonly device: VsockDevice;
  readonly sessions: Sessions;
}

function obey(told: ToWorker, { loop, device, sessions }: Parts): void {
  switch (told.kind) {
    case 'stop':
      return loop.stop();
    case 'tell':
      return post({ kind: 'past', past: device.past });
    case 'renew':
      if (told.past !== undefined) device.follow(told.past);
      return post({ kind: 'renewed', frontEnd: sessions.renew() });
  }
}

const options: VsockOptions = workerData;
try {
  run(options);
} catch (error) {
  post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}
