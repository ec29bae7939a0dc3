import type { FsType } from '../provider.ts';
import { typeOf } from '../attributes.ts';
import type { ByteSource } from './byte-source.ts';
import { ArchiveError, type ArchiveEntry } from './entry.ts';

/** Signatures of the parts of a zip file (PKWARE's APPNOTE.TXT, section 4.3). */
const LOCAL_HEADER = 0x0403_4b50;
const CENTRAL_HEADER = 0x0201_4b50;
const END = 0x0605_4b50;
const END_64 = 0x0606_4b50;
const LOCATOR_64 = 0x0706_4b50;

const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const END_64_BYTES = 56;
const LONGEST_COMMENT = 65_535;

const STORED = 0;
const DEFLATED = 8;
const ENCRYPTED_FLAG = 1;

/** Numbers that are in an extra field instead. */
const IN_EXTRA_32 = 0xffff_ffff;
const EXTRA_64 = 1;
const EXTRA_TIME = 0x5455;

const MADE_BY_UNIX = 3;
const MS_DOS_DIRECTORY = 0x10;

/** Returns whether a file begins as a zip file, or is an empty one. */
export async function isZip(source: ByteSource): Promise<boolean> {
  const start = await source.readSome(0, 4);
  return start.length === 4 && [LOCAL_HEADER, END].includes(start.readUInt32LE());
}

/** Lists the entries of a zip file of a length in `bytes`. @throws ArchiveError where it is damaged, encrypted or packed in another way */
export async function* zipEntries(source: ByteSource, length: number): AsyncGenerator<ArchiveEntry> {
  const directory = await findDirectory(source, length);
  let { offset } = directory;
  for (let i = 0; i < directory.count; i++) {
    const fixed = await source.read(offset, CENTRAL_BYTES);
    if (fixed.readUInt32LE() !== CENTRAL_HEADER)
      throw new ArchiveError(`the header at byte ${offset} is damaged`);
    const [name, extra, comment] = [fixed.readUInt16LE(28), fixed.readUInt16LE(30), fixed.readUInt16LE(32)];
    const header = Buffer.from(await source.read(offset, CENTRAL_BYTES + name + extra));
    yield entryOf(header);
    offset += CENTRAL_BYTES + name + extra + comment;
  }
}

/** Returns the offset of an entry's content; `offset` is that of its local header. */
export async function zipContentOffset(source: ByteSource, offset: number): Promise<number> {
  const header = await source.read(offset, LOCAL_BYTES);
  if (header.readUInt32LE() !== LOCAL_HEADER)
    throw new ArchiveError(`the header at byte ${offset} is damaged`);
  return offset + LOCAL_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
}

/** Finds the directory by the record at the end of the file. */
async function findDirectory(source: ByteSource, length: number): Promise<{ offset: number; count: number }> {
  const start = Math.max(0, length - END_BYTES - LONGEST_COMMENT);
  const tail = Buffer.from(await source.read(start, length - start));
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END || at + END_BYTES + tail.readUInt16LE(at + 20) !== tail.length)
      continue;
    const found = { count: tail.readUInt16LE(at + 10), offset: tail.readUInt32LE(at + 16) };
    const locator = at - LOCATOR_BYTES;
    if (locator >= 0 && tail.readUInt32LE(locator) === LOCATOR_64)
      return readEnd64(source, safe(tail.readBigUInt64LE(locator + 8)));
    return found;
  }
  throw new ArchiveError('its directory is missing: the file is not complete');
}

async function readEnd64(source: ByteSource, offset: number): Promise<{ offset: number; count: number }> {
  const end = await source.read(offset, END_64_BYTES);
  if (end.readUInt32LE() !== END_64) throw new ArchiveError('the record of its directory is damaged');
  return { count: safe(end.readBigUInt64LE(32)), offset: safe(end.readBigUInt64LE(48)) };
}

function entryOf(header: Buffer): ArchiveEntry {
  const nameBytes = header.readUInt16LE(28);
  const path = Uint8Array.from(header.subarray(CENTRAL_BYTES, CENTRAL_BYTES + nameBytes));
  const extras = extrasOf(header.subarray(CENTRAL_BYTES + nameBytes));
  const method = header.readUInt16LE(10);
  const shown = JSON.stringify(Buffer.from(path).toString('utf8').slice(0, 100));
  if ((header.readUInt16LE(8) & ENCRYPTED_FLAG) !== 0) throw new ArchiveError(`${shown} is encrypted`);
  if (method !== STORED && method !== DEFLATED)
    throw new ArchiveError(`${shown} is packed by method ${method}; only 0 and 8 (deflate) are supported`);
  const { size, packed, offset } = numbersOf(header, extras.get(EXTRA_64));
  const { type, mode } = modeOf(header, path);
  const hasContent = type === 'file' || type === 'symlink';
  return {
    path,
    type,
    mode,
    uid: 0,
    gid: 0,
    modified: modifiedOf(header, extras.get(EXTRA_TIME)),
    size: hasContent ? size : 0,
    device: 0,
    ...(hasContent && { content: { kind: 'zip', header: offset, packed, isDeflated: method === DEFLATED } }),
  };
}

/** Reads sizes and the offset, which are in an extra field where they need 64 bits. */
function numbersOf(
  header: Buffer,
  extra: Buffer | undefined,
): { readonly size: number; readonly packed: number; readonly offset: number } {
  let at = 0;
  const next = (value: number): number => {
    if (value !== IN_EXTRA_32) return value;
    if (extra === undefined || at + 8 > extra.length) throw new ArchiveError('a header has no size');
    at += 8;
    return safe(extra.readBigUInt64LE(at - 8));
  };
  // in this order in the extra field
  const size = next(header.readUInt32LE(24));
  const packed = next(header.readUInt32LE(20));
  return { size, packed, offset: next(header.readUInt32LE(42)) };
}

function modeOf(header: Buffer, path: Uint8Array): { readonly type: FsType; readonly mode: number } {
  const attributes = header.readUInt32LE(38);
  const unix = header.readUInt8(5) === MADE_BY_UNIX ? attributes >>> 16 : 0;
  const isDirectory = path.at(-1) === 0x2f || (attributes & MS_DOS_DIRECTORY) !== 0;
  const type = isDirectory ? 'directory' : (typeOf(unix) ?? 'file');
  const mode = unix & 0o7777;
  return { type, mode: mode === 0 ? (isDirectory ? 0o755 : 0o644) : mode };
}

/** Returns the time of the last change: seconds since 1970 in an extra field, else a date of MS-DOS, taken as UTC. */
function modifiedOf(header: Buffer, extra: Buffer | undefined): bigint {
  if (extra !== undefined && extra.length >= 5 && (extra.readUInt8() & 1) !== 0)
    return BigInt(extra.readInt32LE(1)) * 1_000_000_000n;
  const [time, date] = [header.readUInt16LE(12), header.readUInt16LE(14)];
  const [year, month, day] = [1980 + (date >> 9), ((date >> 5) & 15) - 1, date & 31];
  const ms = Date.UTC(year, month, day, time >> 11, (time >> 5) & 63, (time & 31) * 2);
  return BigInt(ms) * 1_000_000n;
}

function extrasOf(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const extras = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length;) {
    const [id, length] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2)];
    if (at + 4 + length > bytes.length) break;
    extras.set(id, bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return extras;
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ArchiveError('a header has a number that is too large');
  return Number(value);
}
