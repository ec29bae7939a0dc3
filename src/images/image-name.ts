import { basename, isAbsolute, resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import { ImageError } from './image-error.ts';
import { parseReference, showReference, type Reference } from './reference.ts';

/** Prefixes of images in local files. */
export const LOCAL_PREFIXES = ['oci', 'oci-archive', 'docker-archive'] as const;

/** A text of a user, by the kind of image that it names. */
export type ImageName =
  /** a disk image or a directory */
  | { readonly kind: 'path'; readonly path: string }
  /** an OCI image in files: `text` is `PATH[:TAG]` */
  | { readonly kind: (typeof LOCAL_PREFIXES)[number]; readonly text: string }
  /** an OCI image in a registry; `name` is its name in the store */
  | { readonly kind: 'registry'; readonly reference: Reference; readonly name: string };

/** Endings of files that are images, which users name relative to their directory. */
const FILE_ENDING = /\.(?:qcow2?|img|raw|vhdx?|vmdk|iso|tar|tgz|tar\.(?:gz|xz|zst))$/i;

/** Schemes of other programs, and the way to write the same here. */
const OTHER_SCHEMES: Readonly<Record<string, string>> = {
  dir: 'copy it to a layout with skopeo: oci:DIR',
  'docker-daemon': 'save it with docker save -o FILE, then write docker-archive:FILE',
  'containers-storage': 'save it with podman save -o FILE, then write docker-archive:FILE',
};

/**
 * Finds the kind of image that a text names. A text is a path where it is absolute, begins with `.`, or is that of an existing file.
 * @throws ImageError `bad-name`, or `not-found` for a missing file
 */
export async function parseImageName(text: string): Promise<ImageName> {
  if (text.includes('\0')) throw new ImageError('bad-name', JSON.stringify(text), 'it has a NUL character');
  const prefix = LOCAL_PREFIXES.find((one) => text.startsWith(`${one}:`));
  if (prefix !== undefined) return { kind: prefix, text: text.slice(prefix.length + 1) };
  if (isAbsolute(text) || /^\.\.?(?:\/|$)/.test(text) || (await isExistingFile(text)))
    return { kind: 'path', path: resolve(text) };
  const scheme = /^([a-z-]+):/.exec(text)?.[1] ?? '';
  const remedy = OTHER_SCHEMES[scheme];
  if (remedy !== undefined) throw new ImageError('bad-name', text, `${scheme}: is not supported; ${remedy}`);
  if (FILE_ENDING.test(basename(text)) && !/[:@]/.test(text))
    throw new ImageError('not-found', text, 'there is no such file; write the path of a file, or NAME:TAG');
  const reference = parseReference(text.startsWith('docker://') ? text.slice('docker://'.length) : text);
  return { kind: 'registry', reference, name: showReference(reference) };
}

/** Returns whether a path is that of a regular file or a block device. */
async function isExistingFile(path: string): Promise<boolean> {
  try {
    const status = await stat(path);
    return status.isFile() || status.isBlockDevice();
  } catch {
    // also a name that is too long for a path: it is not that of a file
    return false;
  }
}
