import { stat } from 'node:fs/promises';
import { createLog } from '../util/log.ts';
import { reasonOf } from '../util/errno.ts';
import { packingOf } from './bzimage.ts';
import { bootFilesFolder } from './files.ts';
import { readHead } from './kernel.ts';
import { unpackedOf } from './unpacked-cache.ts';

const log = createLog('initramfs');

/** An unpacked archive lies beside what the guest makes of it for a while: it may take this part of the memory. */
const SHARE_OF_MEMORY = 1 / 8;

interface Options {
  /** size of the guest's RAM in `bytes` */
  readonly memory: number;
  readonly folder?: string;
}

/**
 * Unpacks an initramfs once, on the host: an emulated guest takes ten times as long for it. One that is not packed,
 * is packed in several parts, or would be too large for the guest is given as it is.
 * @returns the path of the file that QEMU gets
 * @throws where the file cannot be read
 */
export async function prepareInitramfs(
  path: string,
  { memory, folder = bootFilesFolder() }: Options,
): Promise<string> {
  const packing = packingOf(await readHead(path, 8));
  if (packing === undefined || packing === 'elf') return path;
  try {
    const unpacked = await unpackedOf(path, folder, async (packed) => {
      const { unpack } = await import('./unpack.ts');
      return unpack(packing, packed);
    });
    if (unpacked === undefined) return path;
    return (await stat(unpacked)).size <= memory * SHARE_OF_MEMORY ? unpacked : path;
  } catch (error) {
    log.info(`${path} is left for the guest to unpack: ${reasonOf(error)}`);
    return path;
  }
}
