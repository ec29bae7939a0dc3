import type { FsType } from '../provider.ts';
import type { ByteSource } from './byte-source.ts';
import { ArchiveError, type ArchiveEntry } from './entry.ts';
import { parsePax, paxNumber, paxTime, SPARSE_MEMBER, type PaxMembers } from './pax.ts';

const BLOCK = 512;
const SLASH = 0x2f;

/** Largest extended header, in `bytes`: it has names and numbers only. */
const MAX_EXTENDED_BYTES = 1024 * 1024;

/** Types of entries that are listed, by their flag. */
const TYPES: Readonly<Record<string, FsType | 'link'>> = {
  '\0': 'file',
  0: 'file',
  1: 'link',
  2: 'symlink',
  3: 'character',
  4: 'block',
  5: 'directory',
  6: 'fifo',
  7: 'file',
};

/** Members of earlier headers that apply to the next entry. */
interface Extended {
  /** of all further entries */
  global: PaxMembers;
  /** of the next entry */
  next: PaxMembers;
}

interface Header {
  readonly flag: string;
  readonly size: number;
  /** offset of its content */
  readonly content: number;
  readonly block: Buffer;
}

/** Returns whether a file begins with a header of a tar file. */
export async function isTar(source: ByteSource): Promise<boolean> {
  const block = await source.readSome(0, BLOCK);
  return block.length === BLOCK && (isEmpty(block) || hasChecksum(block));
}

/** Lists the entries of a tar file: of POSIX (`ustar`, `pax`), GNU and the older format. @throws ArchiveError where it is damaged */
export async function* tarEntries(source: ByteSource): AsyncGenerator<ArchiveEntry> {
  const extended: Extended = { global: new Map(), next: new Map() };
  for (let offset = 0; ;) {
    const header = await readHeader(source, offset);
    if (header === undefined) return;
    const { flag, content } = header;
    const isExtension = await extend(source, header, extended);
    const size = isExtension ? header.size : (paxNumber(members(extended), 'size') ?? header.size);
    offset = content + Math.ceil(size / BLOCK) * BLOCK;
    if (!Number.isSafeInteger(offset)) throw new ArchiveError('an entry is too large');
    if (isExtension) continue;
    const type = TYPES[flag];
    if (type !== undefined) yield entryOf({ ...header, size }, type, members(extended));
    else if (flag === 'S') throw new ArchiveError('it has a sparse file of GNU tar');
    extended.next = new Map();
  }
}

/** Reads the next header; undefined at the end of the archive. */
async function readHeader(source: ByteSource, offset: number): Promise<Header | undefined> {
  const bytes = await source.readSome(offset, BLOCK);
  // some programs write no end, others one empty block instead of two
  if (bytes.length === 0 || isEmpty(bytes)) return undefined;
  if (bytes.length < BLOCK)
    throw new ArchiveError(`it ends at byte ${offset + bytes.length}, within a header`);
  if (!hasChecksum(bytes)) throw new ArchiveError(`the header at byte ${offset} is damaged`);
  const block = Buffer.from(bytes);
  return {
    flag: String.fromCharCode(block[156] ?? 0),
    size: number(block, 124, 12),
    content: offset + BLOCK,
    block,
  };
}

/** Takes the content of a header that belongs to other entries. @returns false where it is an entry itself */
async function extend(source: ByteSource, header: Header, extended: Extended): Promise<boolean> {
  const { flag, size, content } = header;
  if (!['x', 'g', 'L', 'K'].includes(flag)) return false;
  if (size > MAX_EXTENDED_BYTES) throw new ArchiveError('an extended header is too large');
  const bytes = await source.read(content, size);
  if (flag === 'g') extended.global = new Map([...extended.global, ...parsePax(bytes)]);
  else if (flag === 'x') extended.next = new Map([...extended.next, ...parsePax(bytes)]);
  else {
    const name = flag === 'L' ? 'path' : 'linkpath';
    extended.next = new Map([...extended.next, [name, upToNul(bytes)]]);
  }
  return true;
}

function members({ global, next }: Extended): PaxMembers {
  return global.size === 0 ? next : new Map([...global, ...next]);
}

function entryOf(header: Header, flagged: FsType | 'link', pax: PaxMembers): ArchiveEntry {
  if (pax.has(SPARSE_MEMBER)) throw new ArchiveError('it has a sparse file of GNU tar');
  const { block } = header;
  const path = pax.get('path') ?? pathOf(block);
  // the older format has no type of its own for directories
  const type = flagged === 'file' && path.at(-1) === SLASH ? 'directory' : flagged;
  return {
    path,
    type,
    mode: number(block, 100, 8) & 0o7777,
    uid: paxNumber(pax, 'uid') ?? number(block, 108, 8),
    gid: paxNumber(pax, 'gid') ?? number(block, 116, 8),
    modified: paxTime(pax, 'mtime') ?? BigInt(number(block, 136, 12)) * 1_000_000_000n,
    ...bodyOf(header, type, pax),
  };
}

/** Returns the members that depend on the type. */
function bodyOf(
  { block, size, content }: Header,
  type: ArchiveEntry['type'],
  pax: PaxMembers,
): Pick<ArchiveEntry, 'size' | 'device' | 'content' | 'target'> {
  switch (type) {
    case 'file':
      return { size, device: 0, content: { kind: 'stored', offset: content } };
    case 'link':
    case 'symlink':
      return { size: 0, device: 0, target: pax.get('linkpath') ?? text(block, 157, 100) };
    case 'character':
    case 'block':
      return { size: 0, device: deviceOf(number(block, 329, 8), number(block, 337, 8)) };
    default:
      return { size: 0, device: 0 };
  }
}

/** Returns the path of a header: the older format and GNU's have no prefix. */
function pathOf(block: Buffer): Uint8Array {
  const name = text(block, 0, 100);
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? text(block, 345, 155) : Buffer.alloc(0);
  return prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
}

function deviceOf(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** Reads a number: octal digits, or in base 256 where the first bit is set. @throws ArchiveError where it is none */
function number(block: Buffer, at: number, length: number): number {
  const field = block.subarray(at, at + length);
  const [first = 0] = field;
  if ((first & 0x80) !== 0) {
    const isNegative = first === 0xff;
    const value = isNegative ? -1 : field.subarray(1).reduce((sum, byte) => sum * 256 + byte, first & 0x7f);
    if (!Number.isSafeInteger(value)) throw new ArchiveError('a header has a number that is too large');
    // a time before 1970 is shown as 1970
    return Math.max(0, value);
  }
  const digits = field.toString('latin1').replace(/\0.*$/s, '').trim();
  if (!/^[0-7]*$/.test(digits)) throw new ArchiveError('a header has a damaged number');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function text(block: Buffer, at: number, length: number): Buffer {
  return Buffer.from(upToNul(block.subarray(at, at + length)));
}

function upToNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return Uint8Array.from(end < 0 ? bytes : bytes.subarray(0, end));
}

function isEmpty(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Compares the checksum: the sum of all bytes, with spaces in its own place. Old programs add signed bytes. */
function hasChecksum(block: Buffer): boolean {
  let [unsigned, signed] = [0, 0];
  for (const [i, byte] of block.entries()) {
    const value = i >= 148 && i < 156 ? 0x20 : byte;
    unsigned += value;
    signed += (value << 24) >> 24;
  }
  const digits = /^[ 0]*([0-7]*)/.exec(block.toString('latin1', 148, 156))?.[1] ?? '';
  const stated = digits === '' ? 0 : Number.parseInt(digits, 8);
  return stated === unsigned || stated === signed;
}
