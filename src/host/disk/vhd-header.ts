import { checkWithin, corrupt, SECTOR_BYTES, type ImageReader } from './image-reader.ts';

/** First bytes of a VHD's footer; a dynamic VHD begins with a copy of it. */
const COOKIE = 'conectix';
// members of the footer, big endian
const VERSION = { at: 12, value: 0x1_0000 } as const;
const NEXT = { at: 16, none: 2n ** 64n - 1n } as const;
const SIZE_AT = 48;
const TYPE_AT = 60;
const TYPE = { fixed: 2, dynamic: 3, differencing: 4 } as const;
/** Header of a dynamic image, big endian. */
const DYNAMIC = { bytes: 1024, cookie: 'cxsparse', tableAt: 16, entriesAt: 28, blockBytesAt: 32 } as const;
/** Table of 2 TiB in blocks of 128 KiB. */
const TABLE_BYTES_MAX = 64 * 2 ** 20;

/** Returns whether the last sector is the footer of a fixed VHD. */
export function isFixedVhd(footer: Buffer): boolean {
  return (
    hasVhdCookie(footer) &&
    footer.readUInt32BE(VERSION.at) === VERSION.value &&
    footer.readBigUInt64BE(NEXT.at) === NEXT.none &&
    footer.readUInt32BE(TYPE_AT) === TYPE.fixed
  );
}

/** Returns whether a sector begins as a footer does. */
export function hasVhdCookie(sector: Buffer): boolean {
  return sector.toString('latin1', 0, COOKIE.length) === COOKIE;
}

/**
 * Reads the size of the disk in a fixed VHD, which is raw data and a footer with the size; QEMU's driver would round it.
 * @throws where the footer is missing or corrupt
 */
export async function readFixedVhd(image: ImageReader): Promise<number> {
  const footer = await image.read(Math.max(0, image.size - SECTOR_BYTES), SECTOR_BYTES);
  if (!isFixedVhd(footer)) throw new Error('is no FixedVhd image');
  const bytes = diskBytes('FixedVhd', footer);
  const most = image.size - SECTOR_BYTES;
  if (bytes > most) throw corrupt('FixedVhd', `it is a disk of ${bytes} bytes in a file for ${most}`);
  return bytes;
}

/**
 * Reads the size of the disk in a dynamic VHD; its block table is checked against the size of the file.
 * @throws where it is corrupt, or has a parent
 */
export async function readDynamicVhd(image: ImageReader): Promise<number> {
  const footer = await image.read(0, SECTOR_BYTES);
  const type = footer.readUInt32BE(TYPE_AT);
  if (type === TYPE.differencing) {
    throw new Error('is a differencing VHD image, which needs its parent and is not supported');
  }
  if (type !== TYPE.dynamic) throw corrupt('DynamicVhd', `it is of the unknown type ${type}`);
  const at = footer.readBigUInt64BE(NEXT.at);
  checkWithin('DynamicVhd', { name: 'header', at, bytes: DYNAMIC.bytes }, image.size);
  const header = await image.read(Number(at), DYNAMIC.bytes);
  if (header.toString('latin1', 0, DYNAMIC.cookie.length) !== DYNAMIC.cookie) {
    throw corrupt('DynamicVhd', 'its header is missing');
  }
  const block = header.readUInt32BE(DYNAMIC.blockBytesAt);
  if (block < SECTOR_BYTES || !Number.isInteger(Math.log2(block))) {
    throw corrupt('DynamicVhd', `it has blocks of ${block} bytes`);
  }
  const bytes = header.readUInt32BE(DYNAMIC.entriesAt) * 4;
  if (bytes > TABLE_BYTES_MAX) throw corrupt('DynamicVhd', `its block table has ${bytes} bytes`);
  const table = { name: 'block table', at: header.readBigUInt64BE(DYNAMIC.tableAt), bytes };
  checkWithin('DynamicVhd', table, image.size);
  return diskBytes('DynamicVhd', footer);
}

function diskBytes(kind: 'FixedVhd' | 'DynamicVhd', footer: Buffer): number {
  const bytes = footer.readBigUInt64BE(SIZE_AT);
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER) || bytes % BigInt(SECTOR_BYTES) !== 0n) {
    throw corrupt(kind, `it is a disk of ${bytes} bytes`);
  }
  return Number(bytes);
}
