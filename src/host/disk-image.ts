import { open, type FileHandle } from 'node:fs/promises';
import type { ImageFacts } from '../devices/device.ts';
import { reasonOf } from '../util/errno.ts';

const SECTOR_BYTES = 512;

/**
 * Looks at a disk's image without changing it.
 * @throws with the path and the reason where it cannot be used
 */
export function inspectDiskImage(path: string, readonly: boolean): Promise<ImageFacts> {
  return withFile(path, readonly ? 'r' : 'r+', inspect).catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`);
  });
}

async function withFile<T>(path: string, flags: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function inspect(file: FileHandle): Promise<ImageFacts> {
  const status = await file.stat();
  if (status.isBlockDevice()) return { format: 'raw', isDevice: true };
  if (!status.isFile()) throw new Error('is neither a file nor a block device');
  if (status.size < SECTOR_BYTES) throw new Error(`is shorter than one sector (${SECTOR_BYTES} bytes)`);
  return { format: await detect(file, status.size), isDevice: false };
}

async function detect(file: FileHandle, size: number): Promise<ImageFacts['format']> {
  const head = await readText(file, 0);
  if (head.startsWith('QFI\xfb')) return 'qcow2';
  if (head.startsWith('vhdxfile')) return 'vhdx';
  // a fixed VHD is raw but for its footer
  return (await readText(file, size - SECTOR_BYTES)).startsWith('conectix') ? 'vhd' : 'raw';
}

async function readText(file: FileHandle, position: number): Promise<string> {
  const sector = Buffer.alloc(SECTOR_BYTES);
  await file.read(sector, 0, SECTOR_BYTES, position);
  return sector.toString('latin1');
}
