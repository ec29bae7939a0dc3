import { chmod, lstat, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { lockTemporary } from '../../native/file-lock.ts';
import { codeOf } from '../../util/errno.ts';
import { digestOf } from '../digest.ts';
import type { ImageLayer, ImageProgress } from '../image.ts';
import { ImageError } from '../image-error.ts';
import type { WriteSquashfs } from '../layer-archive.ts';
import { receiveArchive, type ArchiveDescriptor, type FillArchive } from './archive-file.ts';
import { digestPath, readStored, removeStored, storeError, writeStored, type Store } from './store.ts';

/** Size and time of a squashfs file when it was complete: a truncated or replaced file differs. */
const stateSchema = v.object({ size: v.number(), modified: v.string() });

/** Largest state in bytes. */
const STATE_MAX = 4096;

/** Returns the paths of a layer: its squashfs file, and the state of that. */
export function layerPaths(store: Store, diffId: string): { readonly path: string; readonly state: string } {
  const base = digestPath(store, 'layers', diffId);
  return { path: `${base}.squashfs`, state: `${base}.json` };
}

/** Finds a complete layer; undefined where it is missing, truncated, replaced or of another user. */
export async function findLayer(store: Store, diffId: string): Promise<ImageLayer | undefined> {
  const { path, state } = layerPaths(store, diffId);
  const expected = await readState(state);
  if (expected === undefined) return undefined;
  const found = await stateOf(path);
  if (found?.size !== expected.size || found.modified !== expected.modified) return undefined;
  return { diffId, path };
}

/** A layer that is wanted. */
export interface LayerRequest {
  /** Name of the image, for messages */
  readonly image: string;
  readonly diffId: string;
  readonly descriptor: ArchiveDescriptor & { readonly mediaType: string };
  /** Receives the archive from the source of the image */
  readonly fill: FillArchive;
  readonly writeSquashfs: WriteSquashfs;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ImageProgress) => void) | undefined;
}

/**
 * Returns a layer, which is received and unpacked where the store lacks it. Of several processes that want the same layer, one works and
 * the others wait. The caller holds the store's lock (`useStore`).
 */
export async function provideLayer(store: Store, request: LayerRequest): Promise<ImageLayer> {
  const found = await findLayer(store, request.diffId);
  if (found !== undefined) return found;
  const { diffId, descriptor, signal, onProgress } = request;
  const base = join(
    store.directory,
    'partial',
    digestOf(`${diffId} ${descriptor.digest}`).replace('sha256:', ''),
  );
  // by its diff id: two archives of one layer are not unpacked at the same time
  const lockFile = join(store.directory, 'partial', `${digestOf(diffId).replace('sha256:', '')}.lock`);
  const onWait = (): void =>
    onProgress?.({ step: 'download', subject: descriptor.digest, done: 0, total: descriptor.size });
  using lock = await lockTemporary(lockFile, { signal, onWait });
  if (lock === undefined) throw storeError(lockFile, 'is locked by another process');
  try {
    const made = await findLayer(store, diffId);
    if (made !== undefined) return made;
    await receiveArchive(request.image, `${base}.tar`, descriptor, request.fill);
    const layer = await unpack(store, request, base);
    await removeStored(`${base}.tar`);
    return layer;
  } finally {
    await removeStored(lockFile);
  }
}

async function unpack(store: Store, request: LayerRequest, base: string): Promise<ImageLayer> {
  const { image, diffId, descriptor, signal, onProgress, writeSquashfs } = request;
  const temporary = `${base}.squashfs`;
  await removeStored(temporary);
  try {
    await writeSquashfs({ image, diffId, path: `${base}.tar`, mediaType: descriptor.mediaType }, temporary, {
      ...(signal === undefined ? {} : { signal }),
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    await flush(temporary);
    return await keep(store, diffId, temporary);
  } catch (error) {
    await removeStored(temporary);
    // with wrong content, another download would be the same; after an abort the archive is kept for the next call
    if (error instanceof ImageError && error.fault !== 'aborted') await removeStored(`${base}.tar`);
    throw error;
  }
}

/** Moves a complete squashfs file to its place. */
async function keep(store: Store, diffId: string, temporary: string): Promise<ImageLayer> {
  const { path, state } = layerPaths(store, diffId);
  await chmod(temporary, 0o400);
  const found = await stateOf(temporary);
  await removeStored(state);
  await rename(temporary, path);
  await writeStored(store, state, JSON.stringify(found));
  return { diffId, path };
}

async function flush(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.sync();
}

async function readState(path: string): Promise<v.InferOutput<typeof stateSchema> | undefined> {
  const bytes = await readStored(path, STATE_MAX);
  if (bytes === undefined) return undefined;
  try {
    const result = v.safeParse(stateSchema, JSON.parse(bytes.toString('utf8')));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

async function stateOf(path: string): Promise<v.InferOutput<typeof stateSchema> | undefined> {
  try {
    const status = await lstat(path, { bigint: true });
    if (!status.isFile() || status.uid !== BigInt(process.geteuid?.() ?? -1)) return undefined;
    return { size: Number(status.size), modified: String(status.mtimeNs) };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Returns the space that a layer takes, in `bytes`; 0 where it is missing. */
export async function layerSize(store: Store, diffId: string): Promise<number> {
  try {
    return (await stat(layerPaths(store, diffId).path)).size;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
