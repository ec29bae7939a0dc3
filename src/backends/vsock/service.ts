import { closeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { limitLog } from '../../util/rate-limit.ts';
import { listenAtPath } from '../../native/listening-socket.ts';
import { createLog } from '../../util/log.ts';
import { startThread } from '../../util/start-thread.ts';
import { prepareDevice } from '../device-thread.ts';
import type { HandoverState, VsockCommand, VsockMessage, VsockOptions } from './thread-messages.ts';

/** Lines that a guest can cause by broken rules, as often as it likes, are limited. */
const log = limitLog(createLog('vsock'), 'a guest’s vsock driver');

/** Most connections that wait to be accepted, also before the guest's driver is loaded; the kernel's own limit is as high. */
const BACKLOG = 4096;

/** A vsock device in a thread. */
export interface VsockService {
  /** QEMU's end of the vhost-user connection, open until `stop` */
  readonly frontEnd: number;
  /** Starts the thread, and settles when it runs. Rejects with the reason alone where it fails; `stop` must be called then, too. */
  readonly start: () => Promise<void>;
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

/** Listens for a vsock device, whose thread `start` starts; QEMU may connect before. Rejects with the reason alone, and leaves nothing. */
export async function openVsock(
  options: Omit<VsockOptions, 'listener' | 'connection'>,
): Promise<VsockService> {
  const listener = await listenAtPath(options.socket, { mode: 0o600, backlog: BACKLOG });
  try {
    return openService({ ...options, listener: listener.fd }, listener.removeFile);
  } catch (error) {
    listener.removeFile();
    // no thread runs that closes it
    closeSync(listener.fd);
    throw error;
  }
}

function openService(options: Omit<VsockOptions, 'connection'>, removeFile: () => void): VsockService {
  let isStarted = false;
  const create = (connection: number): Worker => {
    const workerData = { ...options, connection };
    const worker = startThread('vsock-worker', () => new URL('worker.js', import.meta.url), workerData);
    isStarted = true;
    return worker;
  };
  const thread = prepareDevice<VsockCommand, VsockMessage>(create, { log });
  return {
    frontEnd: thread.frontEnd,
    start: thread.start,
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
      if (!isStarted) closeSync(options.listener);
    },
  };
}
