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

/** An unpacked archive lies beside what the guest makes of it for a while: it may take this part of the memory. */
const SHARE_OF_MEMORY = 1 / 8;

/** Most bytes of an unpacked archive, however large the guest is: the cache keeps no more. */
const UNPACKED_BYTES = 2 ** 30;

interface Options {
  /** size of the guest's RAM in `bytes` */
  readonly memory: number;
  readonly folder?: string;
}

/**
 * Opens an initramfs and unpacks it once, on the host: an emulated guest takes ten times as long for it. One that is not
 * packed, is packed in several parts, or would be too large for the guest is given as it is. The caller closes it.
 * @throws where the file cannot be read
 */
export async function prepareInitramfs(
  path: string,
  { memory, folder = bootFilesFolder() }: Options,
): Promise<BootFile> {
  const given = await openBootFile(path);
  try {
    const limit = Math.floor(Math.min(memory * SHARE_OF_MEMORY, UNPACKED_BYTES));
    const unpacked = await unpackArchive(given, { limit, folder });
    if (unpacked === undefined) return asBootFile(given);
    await given.file.close();
    return unpacked;
  } catch (error) {
    await given.file.close();
    throw error;
  }
}

interface Wish {
  readonly limit: number;
  readonly folder: string;
}

async function unpackArchive(archive: OpenedFile, { limit, folder }: Wish): Promise<BootFile | undefined> {
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
