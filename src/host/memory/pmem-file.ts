import { constants } from 'node:fs';
import { PMEM_SIZE, type PmemConfig } from '../../devices/pmem/config.ts';
import type { PmemFacts } from '../../devices/pmem/plan.ts';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';
import { lengthOf } from '../disk/file-length.ts';
import { isDirectory } from './ram-backing.ts';

/**
 * Inspects the file or folder of a pmem device.
 * @throws with the path and the reason where it cannot be used
 */
export async function inspectPmem(config: PmemConfig): Promise<PmemFacts> {
  try {
    return await inspect(config);
  } catch (error) {
    throw new Error(`${config.file}: ${reasonOf(error)}`, { cause: error });
  }
}

async function inspect(config: PmemConfig): Promise<PmemFacts> {
  const { file: path, size, discard_writes: discard } = config;
  if (await isDirectory(path)) {
    if (size === undefined) throw new Error('a folder needs a size');
    return { size, isFolder: true };
  }
  await using file = await openFile(path, {
    flags: discard ? constants.O_RDONLY : constants.O_RDWR,
    kinds: ['file', 'block'],
    refusal: 'is neither a file, a folder nor a block device',
  });
  return { size: sizeOf(await lengthOf(file), size), isFolder: false };
}

function sizeOf(length: number, size = length): number {
  if (size > length) throw new Error(`has ${length} bytes, ${size} are asked for`);
  if (size === 0 || size % PMEM_SIZE.multipleOf !== 0) {
    throw new Error(`has ${length} bytes: without a size its length must be a multiple of 2 MiB above 0`);
  }
  return size;
}
