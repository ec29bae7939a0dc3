import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../util/errno.ts';
import { readDocuments } from '../import-image.ts';
import { listNames, removeName, type StoredName } from './names.ts';
import { lockStore, removeStored, type Store } from './store.ts';

/*
 * Removal of files of the store. An image is kept while a name refers to it or a VM uses it; a file is kept while an image needs it.
 */

/** Files that a sweep removed. */
export interface SweepResult {
  readonly digests: readonly string[];
  /** `bytes` */
  readonly freed: number;
}

/** Age in milliseconds at which an incomplete download is removed by any sweep. */
const PARTIAL_AGE_MS = 24 * 3600 * 1000;

/** Time in milliseconds in which an image is not removed for its age: its VM may be starting. */
const FRESH_MS = 10 * 60 * 1000;

/** Removes files that no image needs. The caller holds the store's exclusive lock. */
export async function sweepStore(
  store: Store,
  inUse: readonly string[],
  partialAgeMs = PARTIAL_AGE_MS,
): Promise<SweepResult> {
  const names = await listNames(store);
  const live = await liveFiles(store, [...names.map(({ digest }) => digest), ...inUse]);
  const dead = (await filesOf(store)).filter(({ key }) => !live.has(key));
  const digests: string[] = [];
  for (const { key } of dead) {
    if (!key.startsWith(LAYER) && (await readDocuments(store, key)) !== undefined) digests.push(key);
  }
  let freed = await removePartial(store, partialAgeMs);
  for (const { path } of dead) {
    freed += await sizeOf(path);
    await removeStored(path);
  }
  return { digests, freed };
}

/**
 * Removes the images that are not used for the longest time, until the store is below its limit. Images of VMs and those of the last
 * minutes stay. Does nothing while another process uses the store: its own call does the same afterwards.
 */
export async function shrinkStore(
  store: Store,
  { keep, inUse }: { readonly keep: string; readonly inUse?: (() => Promise<readonly string[]>) | undefined },
): Promise<void> {
  if ((await storeSize(store)) <= store.limit) return;
  using lock = await lockStore(store, 0);
  if (lock === undefined) return;
  const used = [keep, ...((await inUse?.()) ?? [])];
  await sweepStore(store, used);
  for (const name of oldestFirst(await listNames(store), used)) {
    if ((await storeSize(store)) <= store.limit) return;
    await removeName(name);
    await sweepStore(store, used);
  }
}

function oldestFirst(names: readonly StoredName[], used: readonly string[]): StoredName[] {
  const end = Date.now() - FRESH_MS;
  return names.filter(({ digest, usedMs }) => !used.includes(digest) && usedMs < end).toReversed();
}

/** Returns the space of all files in `bytes`. */
export async function storeSize(store: Store): Promise<number> {
  let size = 0;
  for (const { path } of await filesOf(store)) size += await sizeOf(path);
  return size;
}

const LAYER = 'layer ';

/** Returns the keys of the files that images need: digests of documents, and `layer <diff id>`. */
async function liveFiles(store: Store, digests: readonly string[]): Promise<Set<string>> {
  const live = new Set<string>();
  for (const digest of new Set(digests)) {
    const documents = await readDocuments(store, digest);
    if (documents === undefined) continue;
    live.add(digest).add(documents.manifest.config.digest);
    for (const diffId of documents.config.diffIds) live.add(`${LAYER}${diffId}`);
  }
  return live;
}

interface KeyedFile {
  readonly path: string;
  readonly key: string;
}

/** Lists the files of blobs and layers. */
async function filesOf(store: Store): Promise<KeyedFile[]> {
  const files: KeyedFile[] = [];
  for (const algorithm of ['sha256', 'sha512']) {
    for (const [folder, prefix] of [
      ['blobs', ''],
      ['layers', LAYER],
    ] as const) {
      const path = join(store.directory, folder, algorithm);
      for (const name of await readdir(path)) {
        const hex = name.replace(/\.(?:squashfs|json)$/, '');
        files.push({ path: join(path, name), key: `${prefix}${algorithm}:${hex}` });
      }
    }
  }
  return files;
}

async function removePartial(store: Store, ageMs: number): Promise<number> {
  const folder = join(store.directory, 'partial');
  const end = Date.now() - ageMs;
  let freed = 0;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const status = await lstat(path);
    if (status.mtimeMs > end) continue;
    freed += status.size;
    await removeStored(path);
  }
  return freed;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
