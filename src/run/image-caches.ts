import { readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { StoredImage } from '../images/store-functions.ts';
import { layerDiskName, layerDiskFolder, LAYER_DISKS_MAX } from './guest-tools/layer-disk.ts';
import { listWarmEntries, removeWarmEntry, warmFolder } from './warm/warm-cache.ts';
import { bytesOf } from './warm/warm-sweep.ts';

/*
 * Files of the cache that belong to images of the store: warm snapshots, and disks with the layers of images that have many. They can be
 * made again. VMs that run have them open.
 */

/** Folders of the caches; those of the user by default. */
export interface CacheFolders {
  readonly warm: string;
  readonly disks: string;
}

/** Removed files. */
export interface RemovedCaches {
  /** Number of warm snapshots */
  readonly snapshots: number;
  /** Number of disks with layers */
  readonly disks: number;
  /** Disk space of both, in `bytes` */
  readonly freed: number;
}

type ImageLayers = Pick<StoredImage, 'layers'>;

/** Returns the names of the disks of a VM with an image, from the lowest layer to the topmost. */
function disksOf({ layers }: ImageLayers): string[] {
  const joined = layers.length > LAYER_DISKS_MAX ? layers.length - LAYER_DISKS_MAX + 1 : 0;
  const files = layers.slice(joined).map((diffId) => `${diffId.replace(/^[^:]*:/, '')}.squashfs`);
  return joined === 0 ? files : [layerDiskName(layers.slice(0, joined)), ...files];
}

/** Returns the disk space of the warm snapshots of images, in `bytes`, in the order of the images. */
export async function warmBytesOf(
  images: readonly ImageLayers[],
  { warm }: Pick<CacheFolders, 'warm'> = defaultFolders(),
): Promise<number[]> {
  const entries = await listWarmEntries(warm);
  const named = entries.map(({ folder, disks }) => ({
    folder,
    key: disks.map((path) => basename(path)).join(),
  }));
  return images.map((image) => {
    const key = disksOf(image).join();
    const own = named.filter((one) => one.key === key && key !== '');
    return own.reduce((sum, { folder }) => sum + bytesOf(folder), 0);
  });
}

/** Removes disks with layers, and warm snapshots with a disk that does not exist. Those disks stay that `images` need. */
export async function removeImageCaches(
  images: readonly ImageLayers[],
  folders: CacheFolders = defaultFolders(),
): Promise<RemovedCaches> {
  const kept = new Set(images.flatMap(disksOf));
  let [disks, snapshots, freed] = [0, 0, 0];
  for (const name of await readdir(folders.disks).catch(() => [])) {
    // one that is being made, or needed
    if (name.startsWith('.') || kept.has(name)) continue;
    const path = join(folders.disks, name);
    freed += bytesOf(path);
    await rm(path, { force: true });
    disks++;
  }
  for (const entry of await listWarmEntries(folders.warm)) {
    if (await areThere(entry.disks)) continue;
    freed += bytesOf(entry.folder);
    await removeWarmEntry(entry.folder);
    snapshots++;
  }
  return { snapshots, disks, freed };
}

async function areThere(paths: readonly string[]): Promise<boolean> {
  const found = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  return !found.includes(undefined);
}

function defaultFolders(): CacheFolders {
  return { warm: warmFolder(), disks: layerDiskFolder() };
}
