// The thread of a vsock device: it blocks in the kernel and does what comes up, until it is told to end.
import { parentPort, workerData } from 'node:worker_threads';
import type { Log } from '../../util/log.ts';
import { EventLoop } from '../event-loop.ts';
import { AF_UNIX, checked, EPOLLIN, openEventfd, SOCK_CLOEXEC, SOCK_STREAM, socketpair } from '../native.ts';
import { Session } from '../vhost-user/session.ts';
import { VsockDevice } from './device.ts';
import type { FromWorker, VsockOptions } from './messages.ts';
import { listenAt } from './unix-socket.ts';

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

function run({ cid, socket: path }: VsockOptions): void {
  const log = logToMain();
  const listener = listenAt(path);
  try {
    const wake = openEventfd();
    const pair = new Int32Array(2);
    checked('socketpair', socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    const [ours = -1, frontEnd = -1] = pair;
    using loop = new EventLoop();
    using device = new VsockDevice({ cid, path, listener: listener.fd, loop, log });
    using _session = new Session({ fd: ours, loop, device, log, onEnd: () => undefined });
    loop.watch(wake, EPOLLIN, () => loop.stop());
    post({ kind: 'ready', frontEnd, wake });
    loop.run(() => device.settle());
  } finally {
    listener.close();
  }
}

const options: VsockOptions = workerData;
try {
  run(options);
} catch (error) {
  post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}
