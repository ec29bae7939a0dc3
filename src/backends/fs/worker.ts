// The thread of a file system device that serves a directory of the host.
import { libc, loadLibc } from '../../native/libc.ts';
import { checked } from '../../native/system-error.ts';
import { RequestCounters } from '../fuse/counters.ts';
import { FsDevice } from '../fuse/device.ts';
import { threadOptions } from '../../util/thread-options.ts';
import { postFailure, postToMain, runDevice, type ThreadContext } from '../thread-loop.ts';
import { openDirectory, type SharedDirectory } from './directory.ts';
import type { FsOptions, FsThreadOptions, ReconnectCommand } from './thread-messages.ts';

/** Flag of unshare(2): the thread gets a umask and a working directory of its own. */
const CLONE_FS = 0x200;

/** The device of a directory, which it closes. */
class DirectoryDevice extends FsDevice {
  readonly #directory: SharedDirectory;

  constructor(directory: SharedDirectory, options: FsOptions, log: ThreadContext['log']) {
    const { readonly = false, cache = 'auto', queues = 1, counters } = options;
    super({
      ...{ files: directory, queues, readonly, cache, log },
      counters: counters && new RequestCounters(counters),
    });
    this.#directory = directory;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

/**
 * Gives this thread a umask of its own, which is 0: the guest's kernel applies the umask of its process. Where the host refuses that,
 * the umask of the VMM also applies to files that the guest creates.
 */
function ownUmask({ log }: ThreadContext): void {
  try {
    checked('unshare', libc().unshare(CLONE_FS));
    libc().umask(0);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.warn(`new files get the permissions that the umask of the VMM leaves: ${reason}`);
  }
}

function createDevice(options: FsOptions, context: ThreadContext): DirectoryDevice {
  ownUmask(context);
  const { directory: path, readonly = false, cache = 'auto', uidMap, gidMap, xattr } = options;
  const directory = openDirectory({
    ...{ path, readonly, cache },
    ...(uidMap && { uidMap }),
    ...(gidMap && { gidMap }),
    ...(xattr !== undefined && { xattr }),
  });
  return new DirectoryDevice(directory, options, context.log);
}

async function main(options: FsThreadOptions): Promise<void> {
  await loadLibc();
  runDevice<DirectoryDevice, ReconnectCommand>(options, {
    create: (context) => createDevice(options, context),
    obey: (_reconnect, { sessions }) =>
      postToMain({ kind: 'reconnected', ...{ frontEnd: sessions.renew() } }),
  });
}

threadOptions<FsThreadOptions>().then(main).catch(postFailure);
