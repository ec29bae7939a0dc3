import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

/*
 * GUID partition tables (UEFI specification, 5.2 and 5.3): a protective MBR, a header and 128 entries at the start of a disk, and a copy
 * of header and entries in the last sectors.
 */

/** Size of a sector, in bytes. */
export const SECTOR = 512;

const ENTRIES = 128;
const ENTRY_BYTES = 128;
const ENTRY_SECTORS = (ENTRIES * ENTRY_BYTES) / SECTOR;

/** Sectors of MBR, header and entries at the start of a disk; the end has one less. */
export const GPT_SECTORS = 2 + ENTRY_SECTORS;

/** Linux file system data, 0FC63DAF-8483-4772-8E79-3D69D8477DE4, in the byte order of the table */
const LINUX_DATA = Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex');

/** First and last sector of a partition. */
export interface Partition {
  readonly first: number;
  readonly last: number;
}

/** Writes the table of a disk with `sectors` sectors. */
export async function writePartitionTable(
  file: FileHandle,
  partitions: readonly Partition[],
  sectors: number,
): Promise<void> {
  const entries = encodeEntries(partitions);
  const last = sectors - 1;
  const guid = randomBytes(16);
  const at = { guid, crc: crc32(entries), lastUsable: last - ENTRY_SECTORS - 1 };
  const start = Buffer.concat([
    protectiveMbr(sectors),
    header({ own: 1, other: last, entries: 2, ...at }),
    entries,
  ]);
  await file.write(start, 0, start.length, 0);
  const end = Buffer.concat([entries, header({ own: last, other: 1, entries: last - ENTRY_SECTORS, ...at })]);
  await file.write(end, 0, end.length, (last - ENTRY_SECTORS) * SECTOR);
}

function encodeEntries(partitions: readonly Partition[]): Buffer {
  const entries = Buffer.alloc(ENTRIES * ENTRY_BYTES);
  for (const [index, { first, last }] of partitions.entries()) {
    const at = index * ENTRY_BYTES;
    LINUX_DATA.copy(entries, at);
    randomBytes(16).copy(entries, at + 16);
    entries.writeBigUInt64LE(BigInt(first), at + 32);
    entries.writeBigUInt64LE(BigInt(last), at + 40);
  }
  return entries;
}

interface Header {
  readonly own: number;
  readonly other: number;
  readonly entries: number;
  readonly guid: Buffer;
  readonly crc: number;
  readonly lastUsable: number;
}

function header({ own, other, entries, guid, crc, lastUsable }: Header): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  const size = 92;
  bytes.write('EFI PART', 'latin1');
  bytes.writeUInt32LE(0x1_0000, 8);
  bytes.writeUInt32LE(size, 12);
  for (const [index, sector] of [own, other, GPT_SECTORS, lastUsable].entries()) {
    bytes.writeBigUInt64LE(BigInt(sector), 24 + 8 * index);
  }
  guid.copy(bytes, 56);
  bytes.writeBigUInt64LE(BigInt(entries), 72);
  bytes.writeUInt32LE(ENTRIES, 80);
  bytes.writeUInt32LE(ENTRY_BYTES, 84);
  bytes.writeUInt32LE(crc, 88);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, size)), 16);
  return bytes;
}

/** One partition of type 0xEE over the whole disk, so that old programs leave it alone. */
function protectiveMbr(sectors: number): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.writeUInt8(0xee, 450);
  bytes.writeUInt32LE(1, 454);
  bytes.writeUInt32LE(Math.min(sectors - 1, 0xffff_ffff), 458);
  bytes.writeUInt16LE(0xaa55, 510);
  return bytes;
}
