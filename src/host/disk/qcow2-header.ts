import { checkWithin, corrupt, SECTOR_BYTES, type ImageReader } from './image-reader.ts';
import { readQcow2Extensions } from './qcow2-extensions.ts';

/** Backing file of a qcow2 image. */
export interface Backing {
  /** name in the image: a file name, absolute or relative to the image's folder */
  readonly name: string;
  /** QEMU's name of its format, where the image records one */
  readonly format: string | undefined;
}

/** Facts of a qcow2 header. */
export interface Qcow2Header {
  /** size of the disk, in `bytes` */
  readonly bytes: number;
  readonly backing?: Backing;
  /** the file ends within a cluster that is no table: it was truncated */
  readonly isTorn: boolean;
}

/** Bytes of the header of version 2; version 3 has more. */
const V2_BYTES = 72;
const V3_BYTES = 104;
const CLUSTER_BITS = { least: 9, most: 21 } as const;
const NAME_BYTES_MAX = 1023;
const ENTRY_BYTES = 8;
// limits of QEMU (block/qcow2.h)
const L1_BYTES_MAX = 32 * 2 ** 20;
const REFCOUNT_TABLE_BYTES_MAX = 8 * 2 ** 20;
const REFCOUNT_ORDER_MAX = 6;
const SNAPSHOTS_MAX = 65_536;
/** Snapshot table entry: fixed part; then extra data, id and name, padded to 8 bytes. */
const SNAPSHOT = { bytes: 40, idLengthAt: 12, nameLengthAt: 14, extraLengthAt: 36 } as const;
/** Incompatible feature bit: the guest's data is in another file. */
const EXTERNAL_DATA = 1n << 2n;

/**
 * Reads the qcow2 header and checks every table that it names against the size of the file.
 * @throws where the header is corrupt or asks for an unsupported feature
 */
export async function readQcow2(image: ImageReader): Promise<Qcow2Header> {
  const header = await image.read(0, V3_BYTES);
  if (header.toString('latin1', 0, 4) !== 'QFI\xfb') throw new Error('is no Qcow2 image');
  if (image.size < V2_BYTES) throw corrupt('Qcow2', 'it ends within its header');
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw new Error(`is qcow2 of the unknown version ${version}`);
  const bits = header.readUInt32BE(20);
  if (bits < CLUSTER_BITS.least || bits > CLUSTER_BITS.most) {
    throw corrupt('Qcow2', `it has clusters of 2^${bits} bytes`);
  }
  if (header.readUInt32BE(32) !== 0) throw new Error('is an encrypted Qcow2 image, which is not supported');
  const cluster = 2 ** bits;
  if (version === 3) checkVersion3(header, image, cluster);
  const tables = tablesOf(header, cluster);
  const end = readableEnd(image.size, cluster);
  for (const table of tables) {
    if (table.at % BigInt(cluster) !== 0n) throw corrupt('Qcow2', `its ${table.name} is not at a cluster`);
    checkWithin('Qcow2', table, end);
  }
  await checkSnapshots(image, header, end);
  const extensions = await readQcow2Extensions(image, extensionRange(header, image.size, cluster));
  const backing = await readBacking(image, header, cluster);
  return {
    bytes: diskBytes(header),
    isTorn: isTorn(image.size, cluster, tables),
    ...(backing === undefined ? {} : { backing: { name: backing, format: extensions.backingFormat } }),
  };
}

function checkVersion3(header: Buffer, { size }: ImageReader, cluster: number): void {
  const length = header.readUInt32BE(100);
  if (size < V3_BYTES || length < V3_BYTES || length > cluster || length > size) {
    throw corrupt('Qcow2', `its header has ${length} bytes`);
  }
  if ((header.readBigUInt64BE(72) & EXTERNAL_DATA) !== 0n) {
    throw new Error('keeps its data in another file, which is not supported');
  }
  const order = header.readUInt32BE(96);
  if (order > REFCOUNT_ORDER_MAX) throw corrupt('Qcow2', `its reference counts have 2^${order} bits`);
}

interface HeaderTable {
  readonly name: string;
  readonly at: bigint;
  readonly bytes: number;
}

function tablesOf(header: Buffer, cluster: number): readonly HeaderTable[] {
  const l1 = {
    name: 'L1 table',
    bytes: header.readUInt32BE(36) * ENTRY_BYTES,
    at: header.readBigUInt64BE(40),
  };
  const refcounts = {
    name: 'refcount table',
    bytes: header.readUInt32BE(56) * cluster,
    at: header.readBigUInt64BE(48),
  };
  if (l1.bytes > L1_BYTES_MAX) throw corrupt('Qcow2', `its L1 table has ${l1.bytes} bytes`);
  if (refcounts.bytes > REFCOUNT_TABLE_BYTES_MAX) {
    throw corrupt('Qcow2', `its refcount table has ${refcounts.bytes} bytes`);
  }
  return [l1, refcounts].filter(({ bytes }) => bytes > 0);
}

/** QEMU reads zeros up to the end of the last cluster, but only where the file ends at a sector (`checkWithin`). */
function readableEnd(size: number, cluster: number): number {
  return size % SECTOR_BYTES === 0 ? Math.ceil(size / cluster) * cluster : size;
}

/** Returns whether the file was truncated. A new image ends with its L1 table, at any byte. */
function isTorn(size: number, cluster: number, tables: readonly HeaderTable[]): boolean {
  if (size % SECTOR_BYTES === 0) return false;
  const last = BigInt(Math.floor((size - 1) / cluster));
  return !tables.some(({ at, bytes }) => (at + BigInt(bytes) - 1n) / BigInt(cluster) === last);
}

async function checkSnapshots(image: ImageReader, header: Buffer, end: number): Promise<void> {
  const count = header.readUInt32BE(60);
  if (count > SNAPSHOTS_MAX) throw corrupt('Qcow2', `it has ${count} snapshots`);
  let at = header.readBigUInt64BE(64);
  for (let i = 0; i < count; i++) {
    checkWithin('Qcow2', { name: 'snapshot table', at, bytes: SNAPSHOT.bytes }, end);
    const entry = await image.read(Number(at), SNAPSHOT.bytes);
    const bytes =
      SNAPSHOT.bytes +
      entry.readUInt32BE(SNAPSHOT.extraLengthAt) +
      entry.readUInt16BE(SNAPSHOT.idLengthAt) +
      entry.readUInt16BE(SNAPSHOT.nameLengthAt);
    checkWithin('Qcow2', { name: 'snapshot table', at, bytes }, end);
    at += BigInt(Math.ceil(bytes / 8) * 8);
  }
}

/** Extensions are between the header and the backing file's name, or the end of the first cluster. */
function extensionRange(header: Buffer, size: number, cluster: number): { from: number; to: number } {
  const from = header.readUInt32BE(4) === 2 ? V2_BYTES : header.readUInt32BE(100);
  const name = header.readBigUInt64BE(8);
  const to = name === 0n ? cluster : Number(name);
  return { from, to: Math.min(to, cluster, size) };
}

async function readBacking(image: ImageReader, header: Buffer, cluster: number): Promise<string | undefined> {
  const at = header.readBigUInt64BE(8);
  if (at === 0n) return undefined;
  const length = header.readUInt32BE(16);
  const end = Math.min(cluster, image.size);
  if (length === 0 || length > NAME_BYTES_MAX || at + BigInt(length) > BigInt(end)) {
    throw corrupt('Qcow2', 'the name of its backing file is out of place');
  }
  return (await image.read(Number(at), length)).toString('utf8');
}

function diskBytes(header: Buffer): number {
  const bytes = header.readBigUInt64BE(24);
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt('Qcow2', `it is a disk of ${bytes} bytes`);
  return Math.floor(Number(bytes) / SECTOR_BYTES) * SECTOR_BYTES;
}
