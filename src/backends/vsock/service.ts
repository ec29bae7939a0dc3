import { closeSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { createLog } from '../../util/log.ts';
import type { FromWorker, VsockOptions } from './messages.ts';

const log = createLog('vsock');

/** Set by scripts/bundle.ts: the thread's code then stands beside the bundle. */
declare const NEPHOS_VERSION: string;

/** Adding anything to the eventfd ends the thread. */
const WAKE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

/** A vsock device that waits for its QEMU. */
export interface VsockService {
  /** QEMU's end of the vhost-user connection */
  readonly frontEnd: number;
  /** Ends it: all connections are closed and the socket's file is removed. */
  readonly stop: () => Promise<void>;
}

/** Starts the thread of a vsock device; it listens when this returns. Rejects with the reason alone. */
export async function startVsock(options: VsockOptions): Promise<VsockService> {
  const worker = new Worker(workerFile(), { workerData: options });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const { frontEnd, wake } = await listening(worker);
  worker.on('message', (message: FromWorker) => report(message));
  worker.on('error', (error) => log.error(`the device has stopped: ${error.message}`));
  // Node waits for its threads, and this one sleeps in the kernel until it is woken
  const wakeAtExit = (): void => {
    rmSync(options.socket, { force: true });
    writeSync(wake, WAKE);
  };
  process.once('exit', wakeAtExit);
  return {
    frontEnd,
    stop: async () => {
      process.off('exit', wakeAtExit);
      closeSync(frontEnd);
      writeSync(wake, WAKE);
      await ended;
      closeSync(wake);
    },
  };
}

type Ready = Extract<FromWorker, { kind: 'ready' }>;

function listening(worker: Worker): Promise<Ready> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', (message: FromWorker) => {
      worker.off('error', reject);
      if (message.kind === 'ready') resolve(message);
      else reject(new Error(message.message));
    });
  });
}

function report(message: FromWorker): void {
  if (message.kind === 'log') log[message.level](message.message);
  if (message.kind === 'failed') log.error(`the device has stopped: ${message.message}`);
}

function workerFile(): string | URL {
  return typeof NEPHOS_VERSION === 'string'
    ? join(__dirname, 'vsock-worker.cjs')
    : new URL('worker.js', import.meta.url);
}
