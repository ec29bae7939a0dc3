import type { ImageLayer } from '../../devices/disk/image.ts';
import { SECTOR_BYTES, type ImageFormat, type ImageReader } from './image-reader.ts';
import { readQcow2, type Backing } from './qcow2-header.ts';
import { hasVhdCookie, isFixedVhd, readDynamicVhd, readFixedVhd } from './vhd-header.ts';
import { readVhdx, VHDX_SIGNATURE } from './vhdx-header.ts';

/** Facts of an image of one format. */
export interface FormatFacts {
  readonly driver: ImageLayer['driver'];
  /** size of the disk, in `bytes` */
  readonly bytes: number;
  /** size of the disk that must be passed to QEMU, in `bytes`; undefined where QEMU reads it itself */
  readonly visible?: number;
  readonly backing?: Backing;
  /** see `Qcow2Header` */
  readonly isTorn?: boolean;
}

/** Detects an image's format by its first and last sector; any other file is Raw. */
export async function detectFormat(image: ImageReader): Promise<ImageFormat> {
  const [head, footer] = await Promise.all([
    image.read(0, SECTOR_BYTES),
    image.read(Math.max(0, image.size - SECTOR_BYTES), SECTOR_BYTES),
  ]);
  if (head.toString('latin1', 0, 4) === 'QFI\xfb') return 'Qcow2';
  if (head.toString('latin1', 0, VHDX_SIGNATURE.length) === VHDX_SIGNATURE) return 'Vhdx';
  if (isFixedVhd(footer)) return 'FixedVhd';
  return hasVhdCookie(head) && hasVhdCookie(footer) ? 'DynamicVhd' : 'Raw';
}

/**
 * Inspects an image as one of a format.
 * @throws where it is not, is corrupt or asks for an unsupported feature
 */
export async function inspectAs(format: ImageFormat, image: ImageReader): Promise<FormatFacts> {
  switch (format) {
    case 'Raw': {
      const bytes = Math.floor(image.size / SECTOR_BYTES) * SECTOR_BYTES;
      return { driver: 'raw', bytes, ...(bytes === image.size ? {} : { visible: bytes }) };
    }
    case 'Qcow2':
      return { driver: 'qcow2', ...(await readQcow2(image)) };
    case 'FixedVhd': {
      const bytes = await readFixedVhd(image);
      return { driver: 'raw', bytes, visible: bytes };
    }
    case 'DynamicVhd':
      return { driver: 'vpc', bytes: await readDynamicVhd(image) };
    case 'Vhdx':
      return { driver: 'vhdx', bytes: await readVhdx(image) };
  }
}
