import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';
import { statPath } from '../../util/path-calls.ts';

/*
 * Files and folders of the host that the VMM creates or reads by itself: the cache (this file), private folders, snapshots, and
 * ranges of open files. Paths that a user names (sockets, logs, images) are opened by `util/open-file.ts`.
 *
 * Invariants: the cache holds only what can be made again. Its folders have mode 0700, belong to this user, and no other user can
 * replace them (`private-folder.ts`); a cached file is used only after its bytes were verified by their digest. A snapshot never
 * overwrites a file, and is one only when its manifest is complete.
 */

/** Returns the folder of files that can be made again: `NEPHOS_CACHE`, else `$XDG_CACHE_HOME/nephos`, else `~/.cache/nephos`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env['NEPHOS_CACHE']) return env['NEPHOS_CACHE'];
  if (env['XDG_CACHE_HOME']) return join(env['XDG_CACHE_HOME'], 'nephos');
  return join(env['HOME'] ? homedir() : tmpdir(), '.cache', 'nephos');
}

/** Returns the folder of unpacked kernels and initramfs archives, whose names are in `unpacked-cache.ts`. */
export function bootFilesFolder(env?: NodeJS.ProcessEnv): string {
  return join(cacheFolder(env), 'boot');
}

/**
 * Checks that a path can be read: a file or a device. A FIFO may never have any bytes.
 * @throws with the path and the reason
 */
export async function checkReadable(path: string): Promise<void> {
  try {
    if ((await statPath(path)).isDirectory()) throw new Error('is a directory');
    await using _file = await openFile(path, { kinds: ['file', 'character', 'block'] });
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}
