/** Bytes of a header and of the unit that content is padded to. */
export const BLOCK_BYTES = 512;

/** Fields of a header block (POSIX `ustar`, GNU and version 7). Texts are bytes as Latin-1: names need not be UTF-8. */
export interface TarHeader {
  readonly name: string;
  /** type flag, e.g. `0` */
  readonly type: string;
  readonly target: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** content behind the header, in `bytes` */
  readonly size: number;
  /** seconds since 1970 */
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
}

/** An archive that breaks the format, or names something that a layer cannot have. */
export class TarError extends Error {
  override readonly name = 'TarError';
}

const CHECKSUM = { offset: 148, length: 8 } as const;
const MAGIC_OFFSET = 257;
const MODE_MASK = 0o7777;

/** Returns whether a block ends an archive. */
export function isZeroBlock(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Parses a header block. @throws TarError */
export function parseHeader(block: Buffer): TarHeader {
  const expected = readNumber(block, CHECKSUM.offset, CHECKSUM.length);
  if (expected !== checksum(block, false) && expected !== checksum(block, true)) {
    throw new TarError('is no tar archive, or damaged: a header has a wrong checksum');
  }
  const isPosix = block.toString('latin1', MAGIC_OFFSET, MAGIC_OFFSET + 6) === 'ustar\0';
  const prefix = isPosix ? readText(block, 345, 155) : '';
  const name = readText(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type: String.fromCharCode(block[156] ?? 0),
    target: readText(block, 157, 100),
    mode: readNumber(block, 100, 8) & MODE_MASK,
    uid: readNumber(block, 108, 8),
    gid: readNumber(block, 116, 8),
    size: readNumber(block, 124, 12),
    mtime: readNumber(block, 136, 12),
    // archives of version 7 have other bytes here
    major: hasDeviceNumbers(block) ? readNumber(block, 329, 8) : 0,
    minor: hasDeviceNumbers(block) ? readNumber(block, 337, 8) : 0,
  };
}

function hasDeviceNumbers(block: Buffer): boolean {
  return block.toString('latin1', MAGIC_OFFSET, MAGIC_OFFSET + 5) === 'ustar';
}

/** Renders a header block. All numbers must fit their octal fields, and all texts theirs. */
export function renderHeader(header: TarHeader): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(header.name, 0, 100, 'latin1');
  writeOctal(block, header.mode, 100, 8);
  writeOctal(block, header.uid, 108, 8);
  writeOctal(block, header.gid, 116, 8);
  writeOctal(block, header.size, 124, 12);
  writeOctal(block, header.mtime, 136, 12);
  block.write(header.type, 156, 1, 'latin1');
  block.write(header.target, 157, 100, 'latin1');
  block.write('ustar\x0000', MAGIC_OFFSET, 8, 'latin1');
  writeOctal(block, header.major, 329, 8);
  writeOctal(block, header.minor, 337, 8);
  writeOctal(block, checksum(block, false), CHECKSUM.offset, CHECKSUM.length);
  return block;
}

/** Reads a text that ends with a zero byte or with its field. */
export function readText(block: Buffer, offset: number, length: number): string {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? length : end);
}

/** Reads a number in octal digits, or in base 256 (GNU). @throws TarError for other bytes, and beyond 2^53 */
export function readNumber(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) return readBase256(block.subarray(offset, offset + length));
  const text = readText(block, offset, length).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text))
    throw new TarError('is no tar archive, or damaged: a header has a number that is not octal');
  return Number.parseInt(text, 8);
}

function readBase256(field: Buffer): number {
  const isNegative = ((field[0] ?? 0) & 0x40) !== 0;
  let value = isNegative ? -1n : 0n;
  for (const [index, byte] of field.entries()) {
    value = (value << 8n) | BigInt(index === 0 ? (byte & 0x3f) | (isNegative ? 0xc0 : 0) : byte);
  }
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new TarError('has a header with a number beyond 2^53');
  return number;
}

function writeOctal(block: Buffer, value: number, offset: number, length: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, length, 'latin1');
}

/** Old programs summed signed bytes. The checksum's own field counts as spaces. */
function checksum(block: Buffer, isSigned: boolean): number {
  let sum = 0;
  for (let index = 0; index < BLOCK_BYTES; index++) {
    const isOwnField = index >= CHECKSUM.offset && index < CHECKSUM.offset + CHECKSUM.length;
    const byte = isOwnField ? 0x20 : (block[index] ?? 0);
    sum += isSigned && byte > 127 ? byte - 256 : byte;
  }
  return sum;
}
