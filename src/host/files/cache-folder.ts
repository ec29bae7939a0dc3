import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';
import { statPath } from '../../util/path-calls.ts';

/** Every place on disk that the program makes, in one list. What a user names (sockets, logs, images) is not ours. */

/** Holds what can be made again: `NEPHOS_CACHE`, else `$XDG_CACHE_HOME/nephos`, else `~/.cache/nephos`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env['NEPHOS_CACHE']) return env['NEPHOS_CACHE'];
  if (env['XDG_CACHE_HOME']) return join(env['XDG_CACHE_HOME'], 'nephos');
  return join(env['HOME'] ? homedir() : tmpdir(), '.cache', 'nephos');
}

/** Unpacked kernels and initramfs archives: `unpacked-cache.ts` says under which names. */
export function bootFilesFolder(env?: NodeJS.ProcessEnv): string {
  return join(cacheFolder(env), 'boot');
}

/**
 * Looks whether bytes can be read from a path: of a file or a device. A FIFO may never have any.
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
