import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../image-error.ts';
import type { OpenedSource } from '../image-source.ts';
import type { Store } from '../store/store.ts';
import { archiveSource } from './docker-archive.ts';
import { directoryFiles, isDirectory, isFile, splitPath, type ImageFiles } from './image-files.ts';
import { layoutSource } from './oci-layout.ts';
import { openTar } from './tar-files.ts';

/** An image in files of the host. */
export interface LocalRequest {
  readonly kind: 'oci' | 'oci-archive' | 'docker-archive';
  /** `PATH[:TAG]` */
  readonly text: string;
  /** Name as the user gave it */
  readonly shown: string;
  readonly store: Store;
  readonly signal?: AbortSignal | undefined;
}

/** The place of an image in files. */
export interface LocalPlace {
  /** Name in the store */
  readonly name: string;
  /** Absolute path without links */
  readonly path: string;
  readonly tag: string | undefined;
  /** State of an archive: it is equal for equal content, unless times are changed on purpose. Undefined for a directory. */
  readonly state?: string;
}

/** Finds the files of an image. @throws ImageError `not-found` */
export async function findLocal({ kind, text, shown }: LocalRequest): Promise<LocalPlace> {
  const { path, tag } = await splitPath(shown, text, kind === 'oci' ? isDirectory : isFile);
  const name = `${kind}:${path}${tag === undefined ? '' : `:${tag}`}`;
  return { name, path, tag, ...(kind === 'oci' ? {} : { state: await stateOf(path) }) };
}

/** Opens the source of an image in files. @throws ImageError */
export async function openLocalSource(
  { kind, shown, store, signal }: LocalRequest,
  { name, path, tag, state }: LocalPlace,
): Promise<OpenedSource> {
  if (state === undefined) {
    const files = await directoryFiles(shown, path);
    return {
      source: layoutSource({ name, shown, files, tag }),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
  const files = await openTar(shown, path, { folder: join(store.directory, 'partial'), signal });
  try {
    const isSaved = await hasSavedImages(kind, shown, files);
    const request = { name, shown, files, tag, state };
    const source = isSaved ? archiveSource(request) : layoutSource(request);
    return { source, [Symbol.asyncDispose]: () => files[Symbol.asyncDispose]() };
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}

/** New versions of docker save both formats in one archive; the prefix then chooses. */
async function hasSavedImages(
  kind: LocalRequest['kind'],
  shown: string,
  files: ImageFiles,
): Promise<boolean> {
  const hasManifest = await has(files, 'manifest.json');
  const hasLayout = await has(files, 'oci-layout');
  if (!hasManifest && !hasLayout && !(await has(files, 'repositories')))
    throw new ImageError(
      'invalid',
      shown,
      'its archive has no image: neither manifest.json nor oci-layout is in it',
    );
  return kind === 'docker-archive' ? hasManifest || !hasLayout : !hasLayout;
}

async function has(files: ImageFiles, name: string): Promise<boolean> {
  await using range = await files.open(name);
  return range !== undefined;
}

async function stateOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
}
