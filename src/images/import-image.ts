import { statfs } from 'node:fs/promises';
import type { ImageLayer, ImageProgress, OciImage } from './image.ts';
import { ImageError } from './image-error.ts';
import type { ImageSource } from './image-source.ts';
import type { WriteSquashfs } from './layer-archive.ts';
import {
  DOCUMENT_LIMITS,
  decodeConfig,
  decodeManifest,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
} from './manifest.ts';
import { canRun, platformKey, showPlatform, type Platform } from './platform.ts';
import { missingPlatform, readDocument, selectManifest } from './select-manifest.ts';
import { readBlob, writeBlob } from './store/blobs.ts';
import { findLayer, provideLayer } from './store/layers.ts';
import { readName, touchName, writeName, type NameRecord } from './store/names.ts';
import type { Store } from './store/store.ts';
import { mapConcurrently } from './map-concurrently.ts';

/** An import of an image into the store. The caller holds the store's lock. */
export interface ImportRequest {
  readonly store: Store;
  readonly source: ImageSource;
  readonly platform: Platform;
  readonly writeSquashfs: WriteSquashfs;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ImageProgress) => void) | undefined;
}

/** An image, and whether its import wrote to the store. */
export interface ImportedImage {
  readonly image: OciImage;
  readonly hasWritten: boolean;
}

/** Layers that are received and unpacked at the same time. */
const CONCURRENT_LAYERS = 3;

/** Brings an image into the store, as far as it is not there, and lets its name refer to it. @throws ImageError */
export async function importImage(request: ImportRequest): Promise<ImportedImage> {
  const { store, source, platform, onProgress } = request;
  onProgress?.({ step: 'resolve', subject: source.shown, done: 0 });
  const { manifest, bytes, digest, root } = await selectManifest(store, source, platform);
  const configBytes = await readDocument(store, source, manifest.config, 'config');
  const config = decodeConfig(source.shown, configBytes);
  checkConfig(source.shown, manifest, config, platform);
  const missing = await missingLayers(store, manifest, config);
  await checkSpace(request, missing);
  const layers = await provideLayers(request, manifest, config);
  const record = {
    name: source.name,
    platform: platformKey(platform),
    digest,
    root,
    ...(source.state === undefined ? {} : { source: source.state }),
  };
  const isNew = await storeImage(store, record, [
    [bytes, digest],
    [configBytes, manifest.config.digest],
  ]);
  const image = imageOf(source.shown, digest, layers, config);
  return { image, hasWritten: isNew || missing.length > 0 };
}

/** Opens an image that the store has; undefined where one of its files is missing or damaged. */
export async function openStoredImage(
  store: Store,
  record: NameRecord,
  shown: string,
): Promise<OciImage | undefined> {
  const documents = await readDocuments(store, record.digest);
  if (documents === undefined) return undefined;
  const layers: ImageLayer[] = [];
  for (const diffId of documents.config.diffIds) {
    const layer = await findLayer(store, diffId);
    if (layer === undefined) return undefined;
    layers.push(layer);
  }
  await touchName(store, record.name, record.platform);
  return imageOf(shown, record.digest, layers, documents.config);
}

/** Manifest and configuration of an image in the store. */
export interface StoredDocuments {
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** Size of both, in `bytes` */
  readonly size: number;
}

/** Reads the documents of an image by the digest of its manifest; undefined where one is missing or damaged. */
export async function readDocuments(store: Store, digest: string): Promise<StoredDocuments | undefined> {
  const bytes = await readBlob(store, digest, DOCUMENT_LIMITS.manifest);
  const manifest = bytes === undefined ? undefined : decodeOrSkip(() => decodeManifest(digest, bytes, ''));
  if (bytes === undefined || manifest?.kind !== 'manifest') return undefined;
  const configBytes = await readBlob(store, manifest.config.digest, DOCUMENT_LIMITS.config);
  const config =
    configBytes === undefined ? undefined : decodeOrSkip(() => decodeConfig(digest, configBytes));
  if (configBytes === undefined || config === undefined) return undefined;
  return { manifest, config, size: bytes.length + configBytes.length };
}

/** Returns undefined for a document of the store that a former version of Nephos accepted, and this one does not. */
function decodeOrSkip<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}

function checkConfig(image: string, manifest: ImageManifest, config: ImageConfig, platform: Platform): void {
  if (config.diffIds.length !== manifest.layers.length) {
    const reason = `its configuration has ${config.diffIds.length} layers, its manifest ${manifest.layers.length}`;
    throw new ImageError('invalid', image, reason);
  }
  if (!canRun(platform, config)) throw missingPlatform(image, platform, [showPlatform(config)]);
}

async function missingLayers(
  store: Store,
  manifest: ImageManifest,
  config: ImageConfig,
): Promise<Descriptor[]> {
  const missing: Descriptor[] = [];
  for (const [i, descriptor] of manifest.layers.entries()) {
    if ((await findLayer(store, config.diffIds[i] ?? '')) === undefined) missing.push(descriptor);
  }
  return missing;
}

/** A layer takes about twice its archive: that, and the squashfs file. */
const SPACE_FACTOR = 2;

async function checkSpace({ store, source }: ImportRequest, missing: readonly Descriptor[]): Promise<void> {
  const need = missing.reduce((sum, { size }) => sum + size, 0);
  if (need > store.limit) {
    const reason = `its layers have ${need} bytes, the store ${store.limit}; set NEPHOS_IMAGES_LIMIT to a larger size`;
    throw new ImageError('too-large', source.shown, reason);
  }
  const { bavail, bsize } = await statfs(store.directory);
  if (need * SPACE_FACTOR <= bavail * bsize) return;
  const reason = `${store.directory} has ${bavail * bsize} bytes free, the image needs about ${need * SPACE_FACTOR}`;
  throw new ImageError('too-large', source.shown, `${reason}; run nephos prune, or free some space`);
}

async function provideLayers(
  { store, source, writeSquashfs, signal, onProgress }: ImportRequest,
  manifest: ImageManifest,
  config: ImageConfig,
): Promise<ImageLayer[]> {
  const wanted = manifest.layers.map((descriptor, i) => ({ descriptor, diffId: config.diffIds[i] ?? '' }));
  return mapConcurrently(wanted, { limit: CONCURRENT_LAYERS, signal }, ({ descriptor, diffId }, signal) =>
    provideLayer(store, {
      image: source.shown,
      diffId,
      descriptor,
      fill: (sink) => source.fillArchive(descriptor, sink, signal),
      writeSquashfs,
      signal,
      onProgress,
    }),
  );
}

/** @returns true where something was written */
async function storeImage(
  store: Store,
  record: Omit<NameRecord, 'version' | 'pulled'>,
  documents: readonly (readonly [bytes: Buffer, digest: string])[],
): Promise<boolean> {
  let hasWritten = false;
  for (const [bytes, digest] of documents) {
    if ((await readBlob(store, digest, bytes.length)) !== undefined) continue;
    await writeBlob(store, bytes, digest);
    hasWritten = true;
  }
  const former = await readName(store, record.name, record.platform);
  const isSame =
    former?.digest === record.digest && former.root === record.root && former.source === record.source;
  if (isSame && !hasWritten) {
    await touchName(store, record.name, record.platform);
    return false;
  }
  await writeName(store, { ...record, pulled: new Date().toISOString() });
  return true;
}

function imageOf(name: string, digest: string, layers: readonly ImageLayer[], config: ImageConfig): OciImage {
  return { kind: 'oci', name, digest, layers, process: config.process, labels: config.labels };
}
