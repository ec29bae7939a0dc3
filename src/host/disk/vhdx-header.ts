import { checkWithin, corrupt, SECTOR_BYTES, type ImageReader } from './image-reader.ts';

const MIB = 2 ** 20;
export const VHDX_SIGNATURE = 'vhdxfile';

/** The two headers, of which QEMU uses the newer valid one. */
const HEADERS = { places: [64 * 1024, 128 * 1024], bytes: 4096, logLengthAt: 68, logAt: 72 } as const;
const REGIONS = { at: 192 * 1024, bytes: 64 * 1024, countAt: 8, first: 16, entry: 32, most: 2047 } as const;
/** An entry of the region table: GUID, place, length. */
const REGION = { at: 16, lengthAt: 24 } as const;
/** The metadata table: items of a GUID, a place within the region and a length. */
const METADATA = { bytes: 64 * 1024, countAt: 10, first: 32, entry: 32, at: 16, lengthAt: 20 } as const;
/** GUIDs in the byte order of the file. */
const GUID = {
  blockTable: '6677c22d23f600429d64115e9bfd4a08',
  metadata: '06a27c8b90479a4bb8fe575f050f886e',
  fileParameters: '3767a1ca36fa434db3b633f0aa44e76b',
  diskSize: '2442a52f1bcd7648b2115dbed83bf4b8',
} as const;
const HAS_PARENT = 2;
const BLOCK_BYTES = { least: MIB, most: 256 * MIB } as const;
const DISK_BYTES_MAX = 64 * 2 ** 40;
/** Size of an entry of the block table, which may have twice the entries that the disk needs, and some to spare. */
const ENTRY_BYTES = 8;
const SPARE_BYTES = 16 * MIB;

/**
 * Reads the size of the disk in a VHDX image; its tables and its log are checked against the size of the file.
 * @throws where it is corrupt, or has a parent
 */
export async function readVhdx(image: ImageReader): Promise<number> {
  const head = await image.read(0, SECTOR_BYTES);
  if (head.toString('latin1', 0, VHDX_SIGNATURE.length) !== VHDX_SIGNATURE)
    throw new Error('is no Vhdx image');
  await checkLogs(image);
  const regions = await readRegions(image);
  const [blockTable, metadata] = [regions.get(GUID.blockTable), regions.get(GUID.metadata)];
  if (blockTable === undefined || metadata === undefined) {
    throw corrupt('Vhdx', 'its region table has no block table or no metadata');
  }
  const items = await readMetadata(image, metadata);
  const [block, flags] = [items.fileParameters.readUInt32LE(0), items.fileParameters.readUInt32LE(4)];
  if ((flags & HAS_PARENT) !== 0) {
    throw new Error('is a differencing Vhdx image, which needs its parent and is not supported');
  }
  if (block < BLOCK_BYTES.least || block > BLOCK_BYTES.most || !Number.isInteger(Math.log2(block))) {
    throw corrupt('Vhdx', `it has blocks of ${block} bytes`);
  }
  const bytes = items.diskSize.readBigUInt64LE(0);
  if (bytes > BigInt(DISK_BYTES_MAX) || bytes % BigInt(SECTOR_BYTES) !== 0n) {
    throw corrupt('Vhdx', `it is a disk of ${bytes} bytes`);
  }
  const most = 2 * Math.ceil(Number(bytes) / block) * ENTRY_BYTES + SPARE_BYTES;
  if (blockTable.bytes > most) throw corrupt('Vhdx', `its block table has ${blockTable.bytes} bytes`);
  return Number(bytes);
}

async function checkLogs(image: ImageReader): Promise<void> {
  for (const place of HEADERS.places) {
    const header = await image.read(place, HEADERS.bytes);
    if (header.toString('latin1', 0, 4) !== 'head') continue;
    const bytes = header.readUInt32LE(HEADERS.logLengthAt);
    checkWithin('Vhdx', { name: 'log', at: header.readBigUInt64LE(HEADERS.logAt), bytes }, image.size);
  }
}

interface Region {
  readonly at: number;
  readonly bytes: number;
}

async function readRegions(image: ImageReader): Promise<ReadonlyMap<string, Region>> {
  const table = await image.read(REGIONS.at, REGIONS.bytes);
  const count = table.readUInt32LE(REGIONS.countAt);
  if (table.toString('latin1', 0, 4) !== 'regi' || count > REGIONS.most) {
    throw corrupt('Vhdx', 'it has no region table');
  }
  const regions = new Map<string, Region>();
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(REGIONS.first + i * REGIONS.entry, REGIONS.first + (i + 1) * REGIONS.entry);
    const [at, bytes] = [entry.readBigUInt64LE(REGION.at), entry.readUInt32LE(REGION.lengthAt)];
    checkWithin('Vhdx', { name: 'region', at, bytes }, image.size);
    regions.set(entry.toString('hex', 0, 16), { at: Number(at), bytes });
  }
  return regions;
}

interface Items {
  readonly fileParameters: Buffer;
  readonly diskSize: Buffer;
}

async function readMetadata(image: ImageReader, region: Region): Promise<Items> {
  const table = await image.read(region.at, METADATA.bytes);
  const count = table.readUInt16LE(METADATA.countAt);
  if (table.toString('latin1', 0, 8) !== 'metadata' || count > REGIONS.most) {
    throw corrupt('Vhdx', 'it has no metadata table');
  }
  const places = new Map<string, Region>();
  for (let i = 0; i < count; i++) {
    const entry = table.subarray(
      METADATA.first + i * METADATA.entry,
      METADATA.first + (i + 1) * METADATA.entry,
    );
    const [at, bytes] = [entry.readUInt32LE(METADATA.at), entry.readUInt32LE(METADATA.lengthAt)];
    if (at + bytes > region.bytes) throw corrupt('Vhdx', 'an item of its metadata is beyond their region');
    places.set(entry.toString('hex', 0, 16), { at: region.at + at, bytes });
  }
  const [parameters, size] = [places.get(GUID.fileParameters), places.get(GUID.diskSize)];
  if (parameters === undefined || size === undefined) {
    throw corrupt('Vhdx', 'its metadata lack the block size or the size of the disk');
  }
  return { fileParameters: await image.read(parameters.at, 8), diskSize: await image.read(size.at, 8) };
}
