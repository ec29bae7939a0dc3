import { closeSync, writeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { limitLog } from '../../util/rate-limit.ts';
import { listenAtPath, type ListeningSocket } from '../../native/listening-socket.ts';
import { createLog } from '../../util/log.ts';
import { startThread } from '../../util/start-thread.ts';
import type { FromWorker, HandoverState, ToWorker, VsockOptions } from './thread-messages.ts';

const log = createLog('vsock');

/** Increments the eventfd, so that the thread reads its messages. */
const WAKE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

/** Most connections that wait to be accepted, also before the guest's driver is loaded; the kernel's own limit is as high. */
const BACKLOG = 4096;

/** A vsock device in a thread. */
export interface VsockService {
  /** QEMU's end of the vhost-user connection */
  readonly frontEnd: number;
  /** Returns the state for another device that takes over the guest of this one. */
  readonly handoverState: () => Promise<HandoverState>;
  /**
   * Opens a further connection for QEMU, which then creates the device again; the guest's driver stays loaded. `previous` is the state
   * of the guest's former device, whose streams are reset.
   * @returns QEMU's end of the further connection, which this service closes, as the first one
   */
  readonly reconnect: (previous: HandoverState | undefined) => Promise<number>;
  /** Stops the thread: closes all connections and removes the socket's file. */
  readonly stop: () => Promise<void>;
}

/** Starts the thread of a vsock device; it listens when this returns. Rejects with the reason alone. */
export async function startVsock(options: Omit<VsockOptions, 'listener'>): Promise<VsockService> {
  const listener = await listenAtPath(options.socket, { mode: 0o600, backlog: BACKLOG });
  try {
    return await startDevice({ ...options, listener: listener.fd }, listener);
  } catch (error) {
    listener.removeFile();
    throw error;
  }
}

async function startDevice(
  options: VsockOptions,
  { removeFile }: Pick<ListeningSocket, 'removeFile'>,
): Promise<VsockService> {
  const worker = startWorker(options);
  let hasEnded = false;
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  const { frontEnd, wake } = await reply(worker, 'ready');
  worker.on('message', (message: FromWorker) => report(message));
  worker.on('error', (error) => log.error(`the device has stopped: ${error.message}`));
  const send = (message: ToWorker): void => {
    // a thread of Node has no origin, unlike a window
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    worker.postMessage(message);
    writeSync(wake, WAKE);
  };
  // Node waits for its threads at exit, and this one is blocked in the kernel until it is woken
  const endAtExit = (): void => send({ kind: 'stop' });
  process.once('exit', endAtExit);
  const ask = async <K extends FromWorker['kind']>(message: ToWorker, kind: K): Promise<Reply<K>> => {
    // a thread that has exited sends no message
    if (hasEnded) throw new Error('the device has stopped');
    const answer = reply(worker, kind);
    send(message);
    return answer;
  };
  let current = frontEnd;
  return {
    frontEnd,
    handoverState: async () => (await ask({ kind: 'report' }, 'handover-state')).state,
    reconnect: async (previous) => {
      const { frontEnd: next } = await ask({ kind: 'reconnect', previous }, 'reconnected');
      closeSync(current);
      current = next;
      return next;
    },
    stop: async () => {
      // while the thread has the socket open: see `ListeningSocket`
      removeFile();
      process.off('exit', endAtExit);
      closeSync(current);
      send({ kind: 'stop' });
      await ended;
      closeSync(wake);
    },
  };
}

/** Starts the thread, which closes the listening socket; it is closed here where the thread cannot be started. */
function startWorker(options: VsockOptions): Worker {
  try {
    return startThread('vsock-worker', () => new URL('worker.js', import.meta.url), options);
  } catch (error) {
    closeSync(options.listener);
    throw error;
  }
}

type Reply<K extends FromWorker['kind']> = Extract<FromWorker, { kind: K }>;

/** Waits for the thread's message of one kind. */
function reply<K extends FromWorker['kind']>(worker: Worker, kind: K): Promise<Reply<K>> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      worker.off('message', take).off('error', failed).off('exit', exited);
      act();
    };
    const take = (message: FromWorker): void => {
      if (isKind(message, kind)) settle(() => resolve(message));
      else if (message.kind === 'failed') settle(() => reject(new Error(message.message)));
    };
    const failed = (error: Error): void => settle(() => reject(error));
    const exited = (): void => failed(new Error('the device has stopped'));
    worker.on('message', take).on('error', failed).on('exit', exited);
  });
}

function isKind<K extends FromWorker['kind']>(message: FromWorker, kind: K): message is Reply<K> {
  return message.kind === kind;
}

/** Lines that a guest can cause by broken rules, as often as it likes. */
const limitedLog = limitLog(log, 'a guest’s vsock driver');

function report(message: FromWorker): void {
  if (message.kind === 'log') limitedLog[message.level](message.message);
  if (message.kind === 'failed') log.error(`the device has stopped: ${message.message}`);
}
