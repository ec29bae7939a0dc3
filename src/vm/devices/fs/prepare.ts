import { fs } from '../../../devices/fs/index.ts';
import type { FsConfig } from '../../../devices/fs/config.ts';
import type { FsFacts } from '../../../devices/fs/plan.ts';
import { startFs } from '../../../backends/fs/service.ts';
import { createLog } from '../../../util/log.ts';
import { relayBackEnd } from '../vhost-user-back-end.ts';
import { prepares, type PrepareContext, type Prepared } from '../prepare.ts';
import { checkDirectory } from './check-directory.ts';

const log = createLog('fs');

export const prepareFs = prepares(
  fs,
  (config: FsConfig, context: PrepareContext): Promise<Prepared<never, FsFacts>> => {
    const { socket, directory } = config;
    if (directory !== undefined) return serveDirectory(directory, config);
    if (socket !== undefined) return relayDaemon({ ...config, socket }, context);
    throw new Error('has neither a socket nor a directory');
  },
);

/** Connects QEMU to the daemon that listens on a socket. */
async function relayDaemon(
  { socket, dax }: Pick<FsConfig, 'dax'> & { readonly socket: string },
  { id, signal }: PrepareContext,
): Promise<Prepared<never, FsFacts>> {
  if (dax) log.info(`fs ${id}: dax: the guest mounts it without a window to map files in`);
  // QEMU's device supports one connection only
  return relayBackEnd(socket, { part: 'fs', id, signal, once: true });
}

/** Starts a thread that serves a directory of the host. */
async function serveDirectory(
  directory: string,
  { readonly, cache, xattr, num_queues: queues }: FsConfig,
): Promise<Prepared<never, FsFacts>> {
  await checkDirectory(directory);
  const { frontEnd, stop } = await startFs({
    ...{ directory, queues },
    ...(readonly !== undefined && { readonly }),
    ...(cache !== undefined && { cache }),
    ...(xattr !== undefined && { xattr }),
  });
  return { facts: { frontEnd }, release: stop };
}
