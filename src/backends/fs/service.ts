import type { Worker } from 'node:worker_threads';
import { loadLibc } from '../../native/libc.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog, namedLog } from '../../util/log.ts';
import { limitLog } from '../../util/rate-limit.ts';
import { startThread } from '../../util/start-thread.ts';
import { prepareDevice, type StartOptions, type ThreadMessage } from '../device-thread.ts';
import type { FsOptions, ReconnectCommand } from './thread-messages.ts';

/** Lines that a guest can cause by broken rules, as often as it likes, are limited. */
const log = limitLog(createLog('fs'), 'a guest’s file system driver');

/** A file system device in a thread. */
export interface FsService {
  /** QEMU's end of the vhost-user connection, open until `stop` */
  readonly frontEnd: number;
  /** Starts the thread, and settles when it runs. Rejects with {@link DirectoryError} where it fails; `stop` must be called then, too. */
  readonly start: () => Promise<void>;
  /**
   * Opens a further connection for QEMU, which then creates the device again; the guest's driver stays loaded.
   * @returns QEMU's end of it, which this service closes
   */
  readonly reconnect: () => Promise<number>;
  /** Stops the thread: closes all files of the guest. */
  readonly stop: () => Promise<void>;
}

/** Thrown where a directory cannot be served; the message names it. */
export class DirectoryError extends Error {
  readonly path: string;

  constructor(path: string, { cause }: { cause: unknown }) {
    super(`directory ${path}: ${reasonOf(cause)}`, { cause });
    this.path = path;
  }
}

/**
 * Opens the connection of a file system device, whose thread `start` starts; QEMU may connect before. Lines of the log begin with `name`.
 * Rejects with {@link DirectoryError}, and leaves nothing.
 */
export async function openFs(
  options: FsOptions,
  name = `directory ${options.directory}`,
): Promise<FsService> {
  await loadLibc();
  const explain = (cause: unknown): DirectoryError => new DirectoryError(options.directory, { cause });
  try {
    return openService(options, { log: namedLog(log, name), explain });
  } catch (error) {
    throw explain(error);
  }
}

function openService(options: FsOptions, how: StartOptions): FsService {
  const create = (connection: number): Worker =>
    startThread('fs-worker', () => new URL('worker.js', import.meta.url), { ...options, connection });
  const thread = prepareDevice<ReconnectCommand, ThreadMessage>(create, how);
  return {
    frontEnd: thread.frontEnd,
    start: thread.start,
    reconnect: async () => {
      const { frontEnd } = await thread.ask({ kind: 'reconnect' }, 'reconnected');
      thread.replaceFrontEnd(frontEnd);
      return frontEnd;
    },
    stop: thread.stop,
  };
}
