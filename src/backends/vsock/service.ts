import { closeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { limitLog } from '../../util/rate-limit.ts';
import { listenAtPath, type ListeningSocket } from '../../native/listening-socket.ts';
import { createLog } from '../../util/log.ts';
import { startThread } from '../../util/start-thread.ts';
import { waitForDevice } from '../device-thread.ts';
import type { HandoverState, VsockCommand, VsockMessage, VsockOptions } from './thread-messages.ts';

/** Lines that a guest can cause by broken rules, as often as it likes, are limited. */
const log = limitLog(createLog('vsock'), 'a guest’s vsock driver');

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
  const thread = await waitForDevice<VsockCommand, VsockMessage>(startWorker(options), log);
  return {
    frontEnd: thread.frontEnd,
    handoverState: async () => (await thread.ask({ kind: 'report' }, 'handover-state')).state,
    reconnect: async (previous) => {
      const { frontEnd } = await thread.ask({ kind: 'reconnect', previous }, 'reconnected');
      thread.replaceFrontEnd(frontEnd);
      return frontEnd;
    },
    stop: async () => {
      // while the thread has the socket open: see `ListeningSocket`
      removeFile();
      await thread.stop();
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
