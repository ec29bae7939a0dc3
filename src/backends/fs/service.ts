import { reasonOf } from '../../util/errno.ts';
import { createLog, namedLog } from '../../util/log.ts';
import { limitLog } from '../../util/rate-limit.ts';
import { startThread } from '../../util/start-thread.ts';
import { waitForDevice, type ThreadMessage } from '../device-thread.ts';
import type { FsOptions, ReconnectCommand } from './thread-messages.ts';

/** Lines that a guest can cause by broken rules, as often as it likes, are limited. */
const log = limitLog(createLog('fs'), 'a guest’s file system driver');

/** A file system device in a thread. */
export interface FsService {
  /** QEMU's end of the vhost-user connection, which this service closes */
  readonly frontEnd: number;
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
 * Starts the thread of a file system device; lines of the log begin with `name`. Rejects with {@link DirectoryError}, and leaves
 * nothing.
 */
export async function startFs(
  options: FsOptions,
  name = `directory ${options.directory}`,
): Promise<FsService> {
  try {
    const worker = startThread('fs-worker', () => new URL('worker.js', import.meta.url), options);
    const thread = await waitForDevice<ReconnectCommand, ThreadMessage>(worker, namedLog(log, name));
    return {
      frontEnd: thread.frontEnd,
      reconnect: async () => {
        const { frontEnd } = await thread.ask({ kind: 'reconnect' }, 'reconnected');
        thread.replaceFrontEnd(frontEnd);
        return frontEnd;
      },
      stop: thread.stop,
    };
  } catch (error) {
    throw new DirectoryError(options.directory, { cause: error });
  }
}
