import { resolve } from 'node:path';
import type { BlockGeometry } from '../../../devices/disk/image.ts';
import type { ImageFormat } from '../../../host/disk/image-reader.ts';

/** Image of a device at the time of a snapshot or migration. */
export interface SavedImage {
  readonly path: string;
  /** format of a disk; undefined for pmem, and for snapshots of older versions */
  readonly format?: ImageFormat | undefined;
  /** size that the guest's driver has read, in bytes; undefined for snapshots of older versions */
  readonly bytes?: number | undefined;
  /** name of its copy in the folder of the snapshot; undefined if it was not copied */
  readonly copy?: string | undefined;
  /** block sizes that the guest's driver has read; undefined: those of an image file */
  readonly geometry?: BlockGeometry | undefined;
}

/** Image that a device must have, because its machine continues from a snapshot or migration. */
export interface ExpectedImage extends SavedImage {
  /** the request names the format of the image that replaces it */
  readonly isNamed: boolean;
}

/** Returns true if the request, or an edited configuration, names the format of the image that replaces the expected one. */
export function isFormatNamed(expected: ExpectedImage, declared: ImageFormat | undefined): boolean {
  if (declared === undefined) return false;
  return expected.isNamed || (expected.format !== undefined && declared !== expected.format);
}

/** Returns true if a path is that of the expected image, into which its own guest may have written any bytes. */
export function isSameImage(path: string, expected: SavedImage): boolean {
  return resolve(path) === resolve(expected.path);
}

/** Checks that the detected format is the expected one: with another format the guest's data would be destroyed. @throws Error */
export function checkFormat(path: string, found: string, { format }: SavedImage): void {
  if (format === undefined || found === format) return;
  throw new Error(
    `${path}: looks like ${found}, but the saved disk is ${format}: ` +
      `name the format together with the path (image_type in overrides.disks)`,
  );
}

/** Checks that the size is the one that the guest's driver has read. @throws Error */
export function checkSize(path: string, found: number, { bytes }: SavedImage): void {
  if (bytes === undefined || found === bytes) return;
  throw new Error(`${path}: is a device of ${found} bytes, but the saved device has ${bytes}`);
}
