import { dirname, resolve } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { resolveLinks } from '../../util/path-calls.ts';
import type { ImageFormat } from './image-reader.ts';
import type { Backing } from './qcow2-header.ts';

/** A backing file on the host. */
export interface BackingFile {
  readonly path: string;
  /** without symbolic links */
  readonly real: string;
  /** as recorded in the image above it; undefined: detected */
  readonly format: ImageFormat | undefined;
}

/**
 * Finds the backing file of an image as QEMU does, in the image's folder only unless `anywhere`.
 * @throws with the image's path and the reason
 */
export async function locateBackingFile(
  image: string,
  { name, format }: Backing,
  anywhere: boolean,
): Promise<BackingFile> {
  if (/^[^/]*:/.test(name)) throw new Error(`${image}: its backing file "${name}" is no file name`);
  if (name.includes('\0')) throw new Error(`${image}: the name of its backing file has a NUL character`);
  const path = resolve(dirname(image), name);
  const real = await resolveLinks(path).catch((error: unknown) => {
    throw new Error(`${image}: its backing file ${path}: ${reasonOf(error)}`, { cause: error });
  });
  if (!anywhere && dirname(real) !== dirname(await resolveLinks(image))) {
    throw new Error(
      `${image}: its backing file ${path} is in another folder (backing_files=on allows any backing file)`,
    );
  }
  return { path, real, format: recordedFormat(image, format) };
}

/** QEMU's names of formats, as images record them. */
const RECORDED: Readonly<Record<string, ImageFormat | undefined>> = {
  raw: 'Raw',
  qcow2: 'Qcow2',
  vhdx: 'Vhdx',
  // fixed or dynamic: detected
  vpc: undefined,
};

function recordedFormat(image: string, name: string | undefined): ImageFormat | undefined {
  if (name === undefined) return undefined;
  if (!Object.hasOwn(RECORDED, name)) {
    throw new Error(`${image}: its backing file has the format "${name}", which is not supported`);
  }
  return RECORDED[name];
}
