import { readFile, type FileHandle } from 'node:fs/promises';
import { SECTOR_BYTES } from './image-reader.ts';

/** Length of an open regular file or block device, in `bytes`. */
export async function lengthOf(file: FileHandle): Promise<number> {
  const status = await file.stat();
  if (status.isFile()) return status.size;
  if (!status.isBlockDevice()) throw new Error('is neither a file nor a block device');
  const [major, minor] = [(status.rdev >> 8) & 0xfff, (status.rdev & 0xff) | ((status.rdev >> 12) & 0xfff00)];
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES;
}
