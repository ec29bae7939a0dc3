import { resolve } from 'node:path';
import type { BlockGeometry } from '../../../devices/disk/image.ts';
import type { ImageFormat } from '../../../host/disk/image-reader.ts';

/** Image that a device had when its machine's state was saved. */
export interface SavedImage {
  readonly path: string;
  /** format of a disk; undefined for pmem, and where an older snapshot does not tell */
  readonly format?: ImageFormat | undefined;
  /** size that the guest knows; undefined where an older snapshot does not tell */
  readonly bytes?: number | undefined;
  /** sizes of blocks that the guest knows; undefined: those of an image file */
  readonly geometry?: BlockGeometry | undefined;
}

/** Image that a device must have, because its machine takes a saved state. */
export interface ExpectedImage extends SavedImage {
  /** the request names the format of the image that takes its place */
  readonly isNamed: boolean;
}

/** Whether the format of the image that takes another's place was named: by the request, or by a configuration that was edited. */
export function isFormatNamed(expected: ExpectedImage, declared: ImageFormat | undefined): boolean {
  if (declared === undefined) return false;
  return expected.isNamed || (expected.format !== undefined && declared !== expected.format);
}

/** Whether a path is the one of the saved image, which its own guest may have written anything into. */
export function isSameImage(path: string, expected: SavedImage): boolean {
  return resolve(path) === resolve(expected.path);
}

/** Refuses an image that looks like another format than the saved one: the guest's data would be destroyed. */
export function checkFormat(path: string, found: string, { format }: SavedImage): void {
  if (format === undefined || found === format) return;
  throw new Error(
    `${path}: looks like ${found}, but the saved disk is ${format}: ` +
      `name the format together with the path (image_type in overrides.disks)`,
  );
}

/** Refuses an image of another size than the guest knows. */
export function checkSize(path: string, found: number, { bytes }: SavedImage): void {
  if (bytes === undefined || found === bytes) return;
  throw new Error(`${path}: is a device of ${found} bytes, but the saved one has ${bytes}`);
}
