import { createHash, randomBytes } from 'node:crypto';
import { open, readdir, rename, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../../host/files/cache-folder.ts';
import { claimPrivateFolder } from '../../host/files/private-folder.ts';
import type { ImageLayer, OciImage } from '../../images/image.ts';
import { GPT_SECTORS, SECTOR, writePartitionTable, type Partition } from './partition-table.ts';

/*
 * Disks with several layers, for images with more layers than a VM has PCI slots: the lowest layers are the partitions of one disk (GPT).
 *
 * The cache is `<cache>/layer-disks/`; the name of a disk is the SHA-256 of the diff ids of its layers. The disks least recently used are
 * removed beyond a bound; a VM that runs has its disk open.
 */

/** Most disks for layers: PCI slots 1 to 31, less those of the other devices. */
export const LAYER_DISKS_MAX = 20;

/** Most partitions: entries of the partition table */
const PARTITIONS = 128;

/** Largest size of the cache beside the disk in use, in bytes. */
const CACHE_BYTES = 8 * 2 ** 30;

/** An unfinished disk is removed after this time, in milliseconds. */
const STALE_MS = 3_600_000;

/** Partitions start at a multiple of this, in sectors: 4 KiB. */
const ALIGN = 8;

const COPY_BYTES = 2 ** 20;

/** Returns an image with at most 20 files of layers. @throws an error of the file system, RangeError for more than 147 layers */
export async function joinLayers(image: OciImage, signal?: AbortSignal): Promise<OciImage> {
  const count = image.layers.length;
  if (count <= LAYER_DISKS_MAX) return image;
  const joined = count - LAYER_DISKS_MAX + 1;
  if (joined > PARTITIONS) throw new RangeError(`image ${image.name}: ${count} layers are too many for a VM`);
  const layers = image.layers.slice(0, joined);
  const path = await layerDisk(layers, signal);
  const diffId = layers[joined - 1]?.diffId ?? '';
  return { ...image, layers: [{ diffId, path, partitions: joined }, ...image.layers.slice(joined)] };
}

/** Returns the folder of the disks. */
export function layerDiskFolder(): string {
  return join(cacheFolder(), 'layer-disks');
}

/** Returns the name of the disk with layers. */
export function layerDiskName(diffIds: readonly string[]): string {
  return createHash('sha256').update(diffIds.join('\n')).digest('hex');
}

/** Returns the path of a disk with layers, which is made if it is not in the cache. */
async function layerDisk(layers: readonly ImageLayer[], signal: AbortSignal | undefined): Promise<string> {
  const folder = layerDiskFolder();
  await claimPrivateFolder(folder);
  const name = layerDiskName(layers.map(({ diffId }) => diffId));
  const path = join(folder, name);
  const partitions = await placeLayers(layers);
  const size = diskBytes(partitions);
  const found = await stat(path).catch(() => undefined);
  if (found?.size === size) {
    const now = new Date();
    await utimes(path, now, now);
    return path;
  }
  const half = join(folder, `.${randomBytes(6).toString('hex')}`);
  try {
    await using file = await open(half, 'wx', 0o600);
    await file.truncate(size);
    await writePartitionTable(file, partitions, size / SECTOR);
    for (const [index, { first }] of partitions.entries()) {
      await copyInto(file, first * SECTOR, layers[index]?.path ?? '', signal);
    }
    await rename(half, path);
  } finally {
    await rm(half, { force: true });
  }
  await sweep(folder, name);
  return path;
}

async function placeLayers(layers: readonly ImageLayer[]): Promise<Partition[]> {
  let next = Math.ceil(GPT_SECTORS / ALIGN) * ALIGN;
  const partitions: Partition[] = [];
  for (const { path } of layers) {
    const sectors = Math.ceil((await stat(path)).size / SECTOR / ALIGN) * ALIGN;
    partitions.push({ first: next, last: next + sectors - 1 });
    next += sectors;
  }
  return partitions;
}

function diskBytes(partitions: readonly Partition[]): number {
  return ((partitions.at(-1)?.last ?? 0) + 1 + GPT_SECTORS) * SECTOR;
}

async function copyInto(
  file: FileHandle,
  offset: number,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using source = await open(path, 'r');
  const buffer = Buffer.alloc(COPY_BYTES);
  for (let done = 0; ;) {
    signal?.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, COPY_BYTES, done);
    if (bytesRead === 0) return;
    await file.write(buffer, 0, bytesRead, offset + done);
    done += bytesRead;
  }
}

/** Removes the disks least recently used beyond the bound, and unfinished ones. */
async function sweep(folder: string, used: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name !== used);
  const files = await Promise.all(
    names.map(async (name) => ({ name, status: await stat(join(folder, name)).catch(() => undefined) })),
  );
  let bytes = 0;
  for (const { name, status } of files.toSorted(
    (a, b) => (b.status?.mtimeMs ?? 0) - (a.status?.mtimeMs ?? 0),
  )) {
    if (status === undefined) continue;
    const isHalf = name.startsWith('.');
    bytes += isHalf ? 0 : status.size;
    if (isHalf ? status.mtimeMs < Date.now() - STALE_MS : bytes > CACHE_BYTES) {
      await rm(join(folder, name), { force: true });
    }
  }
}
