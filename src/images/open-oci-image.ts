import type { DirectoryImage, DiskImage, OciImage, OpenImageOptions } from './image.ts';
import { ImageError } from './image-error.ts';
import type { ImageName } from './image-name.ts';
import type { ImageSource, OpenedSource } from './image-source.ts';
import { importImage, openStoredImage } from './import-image.ts';
import type { WriteSquashfs } from './layer-archive.ts';
import { findLocal, openLocalSource } from './local/local-source.ts';
import { hostPlatform, parsePlatform, platformKey, type Platform } from './platform.ts';
import type { Reference } from './reference.ts';
import { readName } from './store/names.ts';
import { openStore, useStore, type Store, type StoreOptions } from './store/store.ts';
import { shrinkStore } from './store/sweep.ts';

/** Parts of the functions of this folder that tests and options replace. */
export interface ImageContext {
  readonly store?: StoreOptions;
  readonly writeSquashfs: WriteSquashfs;
  readonly openRegistry: OpenRegistry;
  readonly openLocalImage: OpenLocalImage;
}

/** Opens a disk image or a directory. `path` is absolute, `shown` the text of the user. @throws ImageError */
export type OpenLocalImage = (path: string, shown: string) => Promise<DiskImage | DirectoryImage>;

/** Opens the source of a reference. `name` is its name in the store. */
export type OpenRegistry = (
  reference: Reference,
  names: { readonly name: string; readonly shown: string },
  options: Pick<OpenImageOptions, 'signal' | 'onProgress'>,
) => Promise<OpenedSource>;

/** Name of an OCI image. */
export type OciImageName = Exclude<ImageName, { readonly kind: 'path' }>;

/** A call that opens an image. */
interface OpenCall {
  readonly context: ImageContext;
  readonly store: Store;
  readonly shown: string;
  readonly platform: Platform;
  readonly options: OpenImageOptions;
}

/** Opens an OCI image, which is brought into the store as far as it is not there. @throws ImageError */
export async function openOciImage(
  context: ImageContext,
  name: OciImageName,
  shown: string,
  options: OpenImageOptions,
): Promise<OciImage> {
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(shown, options.platform);
  const store = await openStore(context.store);
  const call = { context, store, shown, platform, options };
  const { image, hasWritten } = await whileInUse(call, () =>
    name.kind === 'registry' ? openReference(call, name) : openLocal(call, name),
  );
  if (hasWritten) await shrinkStore(store, { keep: image.digest, inUse: options.inUse });
  return image;
}

interface Opened {
  readonly image: OciImage;
  readonly hasWritten: boolean;
}

async function whileInUse({ store, shown, options }: OpenCall, act: () => Promise<Opened>): Promise<Opened> {
  const { signal } = options;
  try {
    signal?.throwIfAborted();
    using _lock = await useStore(store, signal);
    return await act();
  } catch (cause) {
    if (signal?.aborted === true) throw new ImageError('aborted', shown, 'the call was aborted', { cause });
    throw cause;
  }
}

async function openReference(
  call: OpenCall,
  { reference, name }: Extract<OciImageName, { kind: 'registry' }>,
): Promise<Opened> {
  const { store, shown, platform, options } = call;
  const { pull = 'missing' } = options;
  const record = await readName(store, name, platformKey(platform));
  if (record !== undefined && pull !== 'always') {
    const image = await openStoredImage(store, record, shown);
    if (image !== undefined) return { image, hasWritten: false };
  }
  if (pull === 'never') {
    const state = record === undefined ? 'is not in the store' : 'is in the store without all of its files';
    throw new ImageError('not-found', shown, `it ${state}; run nephos pull ${shown}`);
  }
  if (record === undefined || pull === 'always') return pullReference(call, name, reference);
  // a tag refers to the same image until it is pulled again
  try {
    return await pullReference(call, name, { ...reference, digest: record.root });
  } catch (cause) {
    if (!(cause instanceof ImageError) || cause.fault !== 'not-found') throw cause;
    const reason = `the registry no longer has ${record.root}, which it referred to; run nephos pull ${shown}`;
    throw new ImageError('not-found', shown, reason, { cause });
  }
}

async function pullReference(call: OpenCall, name: string, reference: Reference): Promise<Opened> {
  const { context, shown, options } = call;
  await using opened = await context.openRegistry(reference, { name, shown }, options);
  return await importSource(call, opened.source);
}

async function openLocal(
  call: OpenCall,
  { kind, text }: Exclude<OciImageName, { kind: 'registry' }>,
): Promise<Opened> {
  const { store, shown, platform, options } = call;
  const request = { kind, text, shown, store, signal: options.signal };
  const place = await findLocal(request);
  const record = await readName(store, place.name, platformKey(platform));
  if (place.state !== undefined && record?.source === place.state) {
    const image = await openStoredImage(store, record, shown);
    if (image !== undefined) return { image, hasWritten: false };
  }
  await using opened = await openLocalSource(request, place);
  return await importSource(call, opened.source);
}

function importSource({ context, store, platform, options }: OpenCall, source: ImageSource): Promise<Opened> {
  const { signal, onProgress } = options;
  const { writeSquashfs } = context;
  return importImage({ store, source, platform, writeSquashfs, signal, onProgress });
}
