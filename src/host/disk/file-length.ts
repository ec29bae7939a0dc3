import { readFile, type FileHandle } from 'node:fs/promises';
import { blockDeviceFolder } from './block-geometry.ts';
import { SECTOR_BYTES } from './image-reader.ts';

/** Returns the length of an open regular file or block device, in `bytes`. */
export async function lengthOf(file: FileHandle): Promise<number> {
  const status = await file.stat();
  if (status.isFile()) return status.size;
  if (!status.isBlockDevice()) throw new Error('is neither a file nor a block device');
  return Number(await readFile(`${blockDeviceFolder(status.rdev)}/size`, 'utf8')) * SECTOR_BYTES;
}
