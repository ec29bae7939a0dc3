import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import { asBootFile, openBootFile, type BootFile } from './boot-file.ts';
import { packingOf, type Packing } from './bzimage.ts';
import { readRange, type OpenedFile } from '../files/file-range.ts';
import { bootFilesFolder } from '../files/cache-folder.ts';
import { UnpackError } from './unpack-error.ts';
import { openUnpacked } from './open-unpacked.ts';
import type { Unpacking } from './unpacking.ts';

const log = createLog('initramfs');

/** Largest part of the guest's RAM for an unpacked archive: the guest holds the archive and its files at the same time. */
const SHARE_OF_MEMORY = 1 / 8;

/** Most bytes of an unpacked archive, for any size of RAM: the cache keeps no more. */
const UNPACKED_BYTES = 2 ** 30;

interface Options {
  /** size of the guest's RAM in `bytes` */
  readonly memory: number;
  readonly folder?: string;
}

/**
 * Opens an initramfs and unpacks it once, on the host: an emulated guest takes ten times as long. An archive that is not
 * compressed, consists of several parts, or would be too large for the guest is used as it is. The caller closes it.
 * @throws where the file cannot be read
 */
export async function prepareInitramfs(
  path: string,
  { memory, folder = bootFilesFolder() }: Options,
): Promise<BootFile> {
  const archive = await openBootFile(path);
  try {
    const limit = Math.floor(Math.min(memory * SHARE_OF_MEMORY, UNPACKED_BYTES));
    const unpacked = await unpackArchive(archive, { limit, folder });
    if (unpacked === undefined) return asBootFile(archive);
    await archive.file.close();
    return unpacked;
  } catch (error) {
    await archive.file.close();
    throw error;
  }
}

interface UnpackOptions {
  readonly limit: number;
  readonly folder: string;
}

async function unpackArchive(
  archive: OpenedFile,
  { limit, folder }: UnpackOptions,
): Promise<BootFile | undefined> {
  const packing = packingOf(await readRange({ ...archive, offset: 0, length: 8 }));
  const { size } = await archive.file.stat();
  if (packing === undefined || packing === 'elf' || size > limit) return undefined;
  try {
    return await openUnpacked(archive, unpackingOf(archive, packing, { limit, size }), folder);
  } catch (error) {
    if (!(error instanceof UnpackError)) throw error;
    log.info(`${archive.path} is left for the guest to unpack: ${reasonOf(error)}`);
    return undefined;
  }
}

function unpackingOf(
  archive: OpenedFile,
  packing: Packing,
  { limit, size }: { readonly limit: number; readonly size: number },
): Unpacking {
  return {
    purpose: 'initramfs',
    limit,
    unpack: async function* () {
      const { unpack } = await import('./unpack.ts');
      yield* unpack(packing, { ...archive, offset: 0, length: size });
    },
    isUsable: async () => true,
  };
}
