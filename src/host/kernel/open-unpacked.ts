import { constants } from 'node:fs';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { openFile } from '../../util/open-file.ts';
import { asBootFile, type BootFile } from './boot-file.ts';
import type { OpenedFile } from '../files/file-range.ts';
import { createMemfd } from '../../native/memfd.ts';
import { UnpackError } from './unpack-error.ts';
import { openCached } from './unpacked-cache.ts';
import { unpackWithin, type Unpacking } from './unpacking.ts';

const log = createLog('cache');

/**
 * Opens the unpacked form of a file: from the cache in `folder`, or unpacked into memory where the cache cannot be used.
 * @returns undefined where it has no usable unpacked form
 * @throws UnpackError where it cannot be unpacked; any other error where it cannot be read
 */
export async function openUnpacked(
  packed: OpenedFile,
  unpacking: Unpacking,
  folder: string,
): Promise<BootFile | undefined> {
  try {
    const found = await openCached(packed, unpacking, folder);
    return found === undefined ? undefined : asBootFile(found);
  } catch (error) {
    if (error instanceof UnpackError) throw error;
    log.warn(
      `the cache is not used (${reasonOf(error)}): ${packed.path} is unpacked into memory at every boot`,
    );
  }
  return unpackIntoMemory(unpacking);
}

/** Unpacks into a memfd, which the kernel frees with its last user. */
async function unpackIntoMemory(unpacking: Unpacking): Promise<BootFile | undefined> {
  using memfd = await createMemfd('boot');
  const file = await openFile(memfd.path, { flags: constants.O_RDWR });
  // the number of a closed descriptor is reused, that of an inode is not
  const unpacked = { file, path: `memfd:${(await file.stat()).ino}` };
  let isUsable = false;
  try {
    for await (const part of unpackWithin(unpacking)) await file.writeFile(part);
    isUsable = await unpacking.isUsable(unpacked);
  } finally {
    if (!isUsable) await file.close();
  }
  return isUsable ? asBootFile(unpacked) : undefined;
}
