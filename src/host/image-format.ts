import type { FileHandle } from 'node:fs/promises';
import type { ImageLayer } from '../devices/image.ts';
import { readQcow2, type Backing } from './qcow2-header.ts';

export const SECTOR_BYTES = 512;

/** A format as clients name it; `DynamicVhd` is found but cannot be asked for. */
export type ImageFormat = 'Raw' | 'Qcow2' | 'FixedVhd' | 'DynamicVhd' | 'Vhdx';

/** What a file tells about itself. */
export interface Look {
  readonly driver: ImageLayer['driver'];
  readonly visible?: number;
  /** what a qcow2 image says it is based on */
  readonly backing?: Backing;
}

/** Tells a file's format by its first and last sector. Anything may be raw. */
export async function detectFormat(file: FileHandle, size: number): Promise<ImageFormat> {
  const [head, footer] = await Promise.all([readSector(file, 0), readSector(file, size - SECTOR_BYTES)]);
  if (startsWith(head, 'QFI\xfb')) return 'Qcow2';
  if (startsWith(head, 'vhdxfile')) return 'Vhdx';
  if (isFixedFooter(footer)) return 'FixedVhd';
  return startsWith(head, VHD_COOKIE) && startsWith(footer, VHD_COOKIE) ? 'DynamicVhd' : 'Raw';
}

/**
 * Looks at a file as at one of a format.
 * @throws where it is not, or says something that cannot be had
 */
export async function lookAs(format: ImageFormat, file: FileHandle, size: number): Promise<Look> {
  switch (format) {
    case 'Raw':
      return { driver: 'raw', ...visible(Math.floor(size / SECTOR_BYTES) * SECTOR_BYTES, size) };
    case 'Qcow2':
      return { driver: 'qcow2', ...(await readQcow2(file)) };
    case 'FixedVhd':
      return lookAtFixedVhd(await readSector(file, size - SECTOR_BYTES), size);
    case 'DynamicVhd':
      return lookAtDynamicVhd(await readSector(file, 0));
    case 'Vhdx':
      if (!startsWith(await readSector(file, 0), 'vhdxfile')) throw new Error('is no VHDX image');
      return { driver: 'vhdx' };
  }
}

// members of a VHD's footer, big endian
const VHD_COOKIE = 'conectix';
const VHD_VERSION = { at: 12, value: 0x1_0000 } as const;
const VHD_NEXT = { at: 16, none: 2n ** 64n - 1n } as const;
const VHD_SIZE_AT = 48;
const VHD_TYPE_AT = 60;
const VHD_FIXED = 2;
const VHD_DYNAMIC = 3;

function isFixedFooter(footer: Buffer): boolean {
  return (
    startsWith(footer, VHD_COOKIE) &&
    footer.readUInt32BE(VHD_VERSION.at) === VHD_VERSION.value &&
    footer.readBigUInt64BE(VHD_NEXT.at) === VHD_NEXT.none &&
    footer.readUInt32BE(VHD_TYPE_AT) === VHD_FIXED
  );
}

/** A fixed VHD is raw but for its footer, and the footer has the disk's size: the engine's driver would round it. */
function lookAtFixedVhd(footer: Buffer, size: number): Look {
  if (!isFixedFooter(footer)) throw new Error('is no fixed VHD image');
  const disk = Number(footer.readBigUInt64BE(VHD_SIZE_AT));
  if (disk > size - SECTOR_BYTES) {
    throw new Error(`is a VHD of ${disk} bytes and has room for ${size - SECTOR_BYTES}`);
  }
  return { driver: 'raw', visible: disk };
}

function lookAtDynamicVhd(header: Buffer): Look {
  if (header.readUInt32BE(VHD_TYPE_AT) !== VHD_DYNAMIC) {
    throw new Error('is a VHD that is based on another file, which is not supported');
  }
  return { driver: 'vpc' };
}

function visible(bytes: number, size: number): { visible?: number } {
  return bytes === size ? {} : { visible: bytes };
}

function startsWith(sector: Buffer, text: string): boolean {
  return sector.toString('latin1', 0, text.length) === text;
}

async function readSector(file: FileHandle, position: number): Promise<Buffer> {
  const sector = Buffer.alloc(SECTOR_BYTES);
  await file.read(sector, 0, SECTOR_BYTES, position);
  return sector;
}
