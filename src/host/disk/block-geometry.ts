import { readFile } from 'node:fs/promises';
import type { BlockGeometry } from '../../devices/disk/image.ts';

/** Returns the folder of a block device in sysfs, by its device number of stat(2). */
export function blockDeviceFolder(rdev: number): string {
  const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)];
  return `/sys/dev/block/${major}:${minor}`;
}

/** Reads the block and I/O sizes of a block device of the host; undefined where the kernel does not report them. */
export async function readGeometry(rdev: number): Promise<BlockGeometry | undefined> {
  const folder = blockDeviceFolder(rdev);
  // a partition has the queue of its disk, one folder above the target of the link
  return (await readQueue(`${folder}/queue`)) ?? readQueue(`${folder}/../queue`);
}

async function readQueue(folder: string): Promise<BlockGeometry | undefined> {
  const read = async (name: string): Promise<number> => Number(await readFile(`${folder}/${name}`, 'utf8'));
  try {
    return {
      logical: await read('logical_block_size'),
      physical: await read('physical_block_size'),
      minimum: await read('minimum_io_size'),
      optimal: await read('optimal_io_size'),
    };
  } catch {
    return undefined;
  }
}
