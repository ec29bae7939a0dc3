import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from './image-error.ts';
import { parseImageName } from './image-name.ts';
import { readDocuments } from './import-image.ts';
import { showPlatform } from './platform.ts';
import { digestPath, lockStore, openStore, type Store, type StoreOptions } from './store/store.ts';
import { findLayer, layerSize } from './store/layers.ts';
import { listNames, removeName, type StoredName } from './store/names.ts';
import { sweepStore } from './store/sweep.ts';
import type {
  PruneImagesOptions,
  RemovedImages,
  RemoveImageOptions,
  StoredImage,
} from './store-functions.ts';
import { nearest } from '../util/nearest.ts';

/** Time in milliseconds that a removal waits for pulls of other processes. */
const LOCK_MS = 2000;

/** Lists the images of a store: those with names, and those that lost theirs. */
export async function listStored(options: StoreOptions = {}): Promise<StoredImage[]> {
  const store = await openStore(options);
  const names = await listNames(store);
  const digests = new Set([...names.map(({ digest }) => digest), ...(await manifestsOf(store))]);
  const images: StoredImage[] = [];
  for (const digest of digests) {
    const image = await describe(
      store,
      digest,
      names.filter((one) => one.digest === digest),
    );
    if (image !== undefined) images.push(image);
  }
  return images.toSorted((a, b) => b.used.localeCompare(a.used));
}

async function describe(
  store: Store,
  digest: string,
  names: readonly StoredName[],
): Promise<StoredImage | undefined> {
  const documents = await readDocuments(store, digest);
  const [latest] = names;
  if (documents === undefined) return latest === undefined ? undefined : describeDamaged(latest, names);
  const { config, size } = documents;
  const layers = await describeLayers(store, config.diffIds);
  return {
    names: [...new Set(names.map(({ name }) => name))],
    digest,
    platform: showPlatform(config) || 'unknown',
    layers: config.diffIds,
    size: size + layers.size,
    ...(config.created === undefined ? {} : { created: config.created }),
    ...(await timesOf(store, digest, latest)),
    isComplete: layers.isComplete,
  };
}

/** Describes a name without documents: it is listed, so that it can be removed. */
function describeDamaged(latest: StoredName, names: readonly StoredName[]): StoredImage {
  const { digest, platform, pulled, usedMs } = latest;
  const used = new Date(usedMs).toISOString();
  return {
    names: [...new Set(names.map(({ name }) => name))],
    digest,
    platform,
    layers: [],
    size: 0,
    pulled,
    used,
    isComplete: false,
  };
}

async function timesOf(
  store: Store,
  digest: string,
  latest: StoredName | undefined,
): Promise<Pick<StoredImage, 'pulled' | 'used'>> {
  if (latest !== undefined) return { pulled: latest.pulled, used: new Date(latest.usedMs).toISOString() };
  const { mtime } = await lstat(digestPath(store, 'blobs', digest));
  return { pulled: mtime.toISOString(), used: mtime.toISOString() };
}

async function describeLayers(
  store: Store,
  diffIds: readonly string[],
): Promise<{ readonly size: number; readonly isComplete: boolean }> {
  let [size, isComplete] = [0, true];
  for (const diffId of new Set(diffIds)) {
    size += await layerSize(store, diffId);
    isComplete &&= (await findLayer(store, diffId)) !== undefined;
  }
  return { size, isComplete };
}

/** Returns the digests of all manifests in the store. */
async function manifestsOf(store: Store): Promise<string[]> {
  const digests: string[] = [];
  for (const algorithm of ['sha256', 'sha512']) {
    for (const hex of await readdir(join(store.directory, 'blobs', algorithm))) {
      const digest = `${algorithm}:${hex}`;
      if ((await readDocuments(store, digest)) !== undefined) digests.push(digest);
    }
  }
  return digests;
}

/** Removes a name or all names of an image, and files that no image needs. @throws ImageError `in-use` or `not-found` */
export async function removeStoredImage(
  text: string,
  { inUse = [], force = false }: RemoveImageOptions = {},
  options: StoreOptions = {},
): Promise<RemovedImages> {
  const store = await openStore(options);
  const names = await listNames(store);
  const isUnnamed = (await manifestsOf(store)).some(
    (digest) => digest === text && names.every((one) => one.digest !== digest),
  );
  const chosen = isUnnamed ? [] : await chooseNames(text, names);
  const used = chosen.find(({ digest }) => inUse.includes(digest));
  const isLast =
    used !== undefined && names.every((one) => one.digest !== used.digest || chosen.includes(one));
  if (isLast && !force)
    throw new ImageError('in-use', text, 'a VM uses it; remove the VM first (nephos ps -a), or force it');
  for (const name of chosen) await removeName(name);
  const swept = await sweep(store, inUse);
  return { names: [...new Set(chosen.map(({ name }) => name))], ...swept };
}

/** Files of a pull that runs at the same time are left to a later removal. */
async function sweep(
  store: Store,
  inUse: readonly string[],
  partialAgeMs?: number,
): Promise<Pick<RemovedImages, 'digests' | 'freed'>> {
  using lock = await lockStore(store, LOCK_MS);
  return lock === undefined ? { digests: [], freed: 0 } : await sweepStore(store, inUse, partialAgeMs);
}

/** Fewest hexadecimal digits of a shortened digest. */
const SHORT_DIGEST = /^(?:(sha256|sha512):)?([0-9a-f]{7,128})$/;

async function chooseNames(text: string, names: readonly StoredName[]): Promise<readonly StoredName[]> {
  const exact = names.filter(({ name }) => name === text);
  if (exact.length > 0) return exact;
  const byDigest = chooseByDigest(text, names);
  if (byDigest.length > 0) return byDigest;
  const name = await storeName(text);
  const found = names.filter((one) => one.name === name);
  if (found.length > 0) return found;
  const meant = nearest(
    name,
    names.map((one) => one.name),
  );
  const remedy = meant === undefined ? 'nephos images lists those in the store' : `did you mean ${meant}?`;
  throw new ImageError('not-found', text, `it is not in the store; ${remedy}`);
}

function chooseByDigest(text: string, names: readonly StoredName[]): readonly StoredName[] {
  const [match, algorithm = 'sha256', hex = ''] = SHORT_DIGEST.exec(text) ?? [];
  if (match === undefined) return [];
  const found = names.filter(({ digest }) => digest.startsWith(`${algorithm}:${hex}`));
  if (new Set(found.map(({ digest }) => digest)).size > 1)
    throw new ImageError('bad-name', text, 'several images have digests that begin so; write more digits');
  return found;
}

/** Returns the name in the store for a text of a user. */
async function storeName(text: string): Promise<string> {
  const name = await parseImageName(text);
  return name.kind === 'registry' ? name.name : text;
}

/** Removes images without a name, with `all` also those with names, and incomplete downloads. */
export async function pruneStored(
  { inUse = [], all = false }: PruneImagesOptions = {},
  options: StoreOptions = {},
): Promise<RemovedImages> {
  const store = await openStore(options);
  using lock = await lockStore(store, LOCK_MS);
  if (lock === undefined)
    throw new ImageError('in-use', store.directory, 'another process pulls an image; try again afterwards');
  const unused = all ? (await listNames(store)).filter(({ digest }) => !inUse.includes(digest)) : [];
  for (const name of unused) await removeName(name);
  const swept = await sweepStore(store, inUse, 0);
  return { names: [...new Set(unused.map(({ name }) => name))], ...swept };
}
