/*
 * Writes an ISO 9660 image (ECMA-119) with files in its root directory, for cloud-init's seed disk. Names are written as they are: the
 * standard's characters exclude lower case and `-`, but all readers that matter (Linux, BSD) take them, and cloud-init needs `user-data`.
 */

/** Length of a logical block, in bytes (ECMA-119, 6.2.2). */
const BLOCK = 2048;

/** Blocks of the descriptors, the path tables and the root directory; the system area has 16 blocks (6.2.1). */
const AT = {
  primary: 16,
  terminator: 17,
  pathTable: 18,
  pathTableBigEndian: 19,
  root: 20,
  files: 21,
} as const;

/** Length of a volume identifier, in characters (8.4.7). */
const LABEL_MAX = 32;

/** A file of an image. */
export interface IsoFile {
  readonly name: string;
  readonly content: string;
}

/**
 * Returns an image with files in its root directory.
 * @throws RangeError for a label that is too long, or more names than one block of a directory has
 */
export function iso9660Image(label: string, files: readonly IsoFile[]): Buffer {
  if (label.length > LABEL_MAX) throw new RangeError(`label ${label}: longer than ${LABEL_MAX} characters`);
  let next: number = AT.files;
  // ECMA-119, 9.3: records are in the order of their names
  const placed = files
    .map(({ name, content }) => ({ name, bytes: Buffer.from(content) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((file) => {
      const block = next;
      next += blocksOf(file.bytes);
      return { ...file, block };
    });
  const blocks = new Map<number, Buffer>([
    [AT.primary, primaryDescriptor(label, next)],
    [AT.terminator, descriptorHead(255)],
    [AT.pathTable, pathTable('le')],
    [AT.pathTableBigEndian, pathTable('be')],
    [AT.root, rootDirectory(placed)],
    ...placed.map(({ block, bytes }) => [block, bytes] as const),
  ]);
  const image = Buffer.alloc(next * BLOCK);
  for (const [block, bytes] of blocks) bytes.copy(image, block * BLOCK);
  return image;
}

function blocksOf({ length }: Buffer): number {
  return Math.ceil(length / BLOCK);
}

/** Head of a volume descriptor (8.1). */
function descriptorHead(type: number): Buffer {
  return Buffer.concat([Buffer.from([type]), Buffer.from('CD001'), Buffer.from([1])]);
}

/** Primary volume descriptor (8.4). Positions are byte offsets. */
function primaryDescriptor(label: string, blocks: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  descriptorHead(1).copy(bytes);
  // texts are filled with spaces: identifiers of system and volume, then of the volume set and others
  bytes.fill(' ', 8, 72).fill(' ', 190, 813);
  bytes.write(label, 40, 'latin1');
  both32(blocks).copy(bytes, 80);
  both16(1).copy(bytes, 120);
  both16(1).copy(bytes, 124);
  both16(BLOCK).copy(bytes, 128);
  both32(PATH_TABLE_BYTES).copy(bytes, 132);
  bytes.writeUInt32LE(AT.pathTable, 140);
  bytes.writeUInt32BE(AT.pathTableBigEndian, 148);
  directoryRecord('\0', AT.root, BLOCK).copy(bytes, 156);
  // dates that are not specified: digits of zero and an offset of zero (8.4.26.1)
  for (let date = 0; date < 4; date++) bytes.fill('0', 813 + date * 17, 813 + date * 17 + 16);
  bytes.writeUInt8(1, 881);
  return bytes;
}

/** Length of a path table with the root directory alone. */
const PATH_TABLE_BYTES = 10;

/** Path table (9.4): the root directory, which is its own parent. */
function pathTable(order: 'le' | 'be'): Buffer {
  const bytes = Buffer.alloc(PATH_TABLE_BYTES);
  bytes.writeUInt8(1, 0);
  if (order === 'le') {
    bytes.writeUInt32LE(AT.root, 2);
    bytes.writeUInt16LE(1, 6);
  } else {
    bytes.writeUInt32BE(AT.root, 2);
    bytes.writeUInt16BE(1, 6);
  }
  return bytes;
}

function rootDirectory(files: readonly { name: string; bytes: Buffer; block: number }[]): Buffer {
  const records = [
    directoryRecord('\0', AT.root, BLOCK),
    directoryRecord('\u0001', AT.root, BLOCK),
    ...files.map(({ name, bytes, block }) => directoryRecord(name, block, bytes.length)),
  ];
  const all = Buffer.concat(records);
  if (all.length > BLOCK) throw new RangeError(`the names of ${files.length} files are too long`);
  return all;
}

/** Identifiers of the directory itself and of its parent (9.1.11). */
const ITSELF = ['\0', '\u0001'];

/** Directory record (9.1). The date is 1970-01-01, so that equal files give equal images. */
function directoryRecord(name: string, block: number, length: number): Buffer {
  const identifier = Buffer.from(name, 'latin1');
  // the length of a record is even
  const bytes = Buffer.alloc(33 + identifier.length + ((identifier.length + 1) % 2));
  bytes.writeUInt8(bytes.length, 0);
  both32(block).copy(bytes, 2);
  both32(length).copy(bytes, 10);
  Buffer.from([70, 1, 1]).copy(bytes, 18);
  bytes.writeUInt8(ITSELF.includes(name) ? 2 : 0, 25);
  both16(1).copy(bytes, 28);
  bytes.writeUInt8(identifier.length, 32);
  identifier.copy(bytes, 33);
  return bytes;
}

/** A number in both byte orders (7.2.3, 7.3.3). */
function both16(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(value, 0);
  bytes.writeUInt16BE(value, 2);
  return bytes;
}

function both32(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value, 0);
  bytes.writeUInt32BE(value, 4);
  return bytes;
}
