import { RequestCounters } from '../../../backends/fuse/counters.ts';
import { openFs } from '../../../backends/fs/service.ts';
import { fs } from '../../../devices/fs/index.ts';
import type { FsConfig } from '../../../devices/fs/config.ts';
import { parseIdRange, type IdRange } from '../../../devices/fs/id-range.ts';
import type { FsFacts } from '../../../devices/fs/plan.ts';
import { createLog } from '../../../util/log.ts';
import { relayBackEnd } from '../vhost-user-back-end.ts';
import { prepares, type PrepareContext, type Prepared } from '../prepare.ts';
import { checkDirectory } from './check-directory.ts';

const log = createLog('fs');

export const prepareFs = prepares(
  fs,
  (config: FsConfig, context: PrepareContext): Promise<Prepared<never, FsFacts>> => {
    const { socket, directory } = config;
    if (directory !== undefined) return serveDirectory({ ...config, directory }, context);
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

/** Prepares a thread that serves a directory of the host. */
async function serveDirectory(
  config: FsConfig & { readonly directory: string },
  { id }: PrepareContext,
): Promise<Prepared<never, FsFacts>> {
  const { directory, readonly, cache, xattr, num_queues: queues } = config;
  // the calls of the thread have no deadline
  await checkDirectory(directory);
  const counters = new RequestCounters();
  const { frontEnd, start, stop } = await openFs(
    {
      ...{ directory, readonly, cache, xattr, queues },
      uidMap: idRange(config.uid_map),
      gidMap: idRange(config.gid_map),
      counters: counters.memory,
    },
    `fs ${id}`,
  );
  log.debug(`fs ${id}: a thread serves ${directory}`);
  return { facts: { frontEnd }, start, counters: () => counters.read(), release: stop };
}

function idRange(text: string | undefined): IdRange | undefined {
  return text === undefined ? undefined : parseIdRange(text);
}
