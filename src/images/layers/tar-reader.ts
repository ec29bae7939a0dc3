import { byteReader, type ByteReader } from './byte-reader.ts';
import { parsePax, type PaxRecord } from './pax.ts';
import {
  checkSparseMap,
  expandSparse,
  hasSparseMapInContent,
  readOldSparseMap,
  readSparseMap,
  sparseMapOf,
} from './sparse.ts';
import { BLOCK_BYTES, isZeroBlock, parseHeader, TarError, type TarHeader } from './tar-header.ts';

/** Kind of an entry: a file system object, or a hard link to one. */
export type EntryKind = 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';

/** An entry of an archive, its extended headers applied. Texts are bytes as Latin-1. */
export interface TarEntry extends Omit<TarHeader, 'type'> {
  readonly kind: EntryKind;
  /** those that a layer may have: `user.`, `trusted.` and `security.` */
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** An entry with its content. The content may be left unread; it ends with the next entry. */
export interface ReadEntry {
  readonly entry: TarEntry;
  readonly content: AsyncIterable<Buffer>;
}

/** Most bytes of an extended header. Go's archive/tar, which Docker uses, has the same limit. */
const EXTENDED_MAX_BYTES = 1024 * 1024;

const KINDS: Readonly<Record<string, EntryKind>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
};

/** Extended headers before an entry. */
interface Extensions {
  readonly records: readonly PaxRecord[];
  /** of GNU's headers `L` and `K` */
  readonly longName?: string;
  readonly longTarget?: string;
}

const NO_EXTENSIONS: Extensions = { records: [] };

/**
 * Reads a tar archive: `ustar`, `pax`, GNU and version 7. Bytes behind the end of the archive are read and ignored.
 *
 * The entries keep the bytes of names and extended attributes. Packages that decode them as UTF-8 damage file capabilities
 * (`security.capability`), whose values have bytes above 127.
 * @throws TarError
 */
export async function* readTar(stream: AsyncIterable<Buffer>): AsyncGenerator<ReadEntry> {
  const iterator = stream[Symbol.asyncIterator]();
  try {
    yield* entriesOf(byteReader(iterator));
  } finally {
    await iterator.return?.();
  }
}

async function* entriesOf(reader: ByteReader): AsyncGenerator<ReadEntry> {
  let extensions = NO_EXTENSIONS;
  for (;;) {
    const block = await reader.read(BLOCK_BYTES);
    if (block === undefined) break;
    if (isZeroBlock(block)) {
      const second = await reader.read(BLOCK_BYTES);
      if (second !== undefined && !isZeroBlock(second))
        throw new TarError('has an entry behind a zero block');
      break;
    }
    const header = parseHeader(block);
    const next = await readExtension(header, extensions, reader);
    if (next !== undefined) {
      extensions = next;
      continue;
    }
    yield* readEntry({ header, block, extensions }, reader);
    extensions = NO_EXTENSIONS;
  }
  await reader.drain();
}

/** Reads an extended header; undefined for an entry. */
async function readExtension(
  { type, size }: TarHeader,
  extensions: Extensions,
  reader: ByteReader,
): Promise<Extensions | undefined> {
  switch (type) {
    case 'x':
      return { ...extensions, records: parsePax(await readPadded(reader, size)) };
    // a label of the volume, and defaults for all entries, which Docker ignores
    case 'g':
    case 'V':
      await readPadded(reader, size);
      return extensions;
    case 'L':
      return { ...extensions, longName: untilZero(await readPadded(reader, size)) };
    case 'K':
      return { ...extensions, longTarget: untilZero(await readPadded(reader, size)) };
    default:
      return undefined;
  }
}

interface FoundEntry {
  readonly header: TarHeader;
  readonly block: Buffer;
  readonly extensions: Extensions;
}

async function* readEntry(found: FoundEntry, reader: ByteReader): AsyncGenerator<ReadEntry> {
  const entry = applyExtensions(found);
  // other entries have no content, whatever their size field says
  if (entry.kind !== 'file') {
    yield { entry: { ...entry, size: 0 }, content: reader.parts(0) };
    return;
  }
  const { size, content } = await openContent(found, entry.size, reader);
  yield { entry: { ...entry, size }, content };
  for await (const part of content) void part;
  // `umoci insert` ends an archive behind the content: without padding, and without zero blocks, as Go's archive/tar accepts it
  const padding = paddingOf(entry.size);
  if (padding > 0) await reader.read(padding);
}

interface OpenedContent {
  readonly size: number;
  /** can be left and continued */
  readonly content: AsyncIterable<Buffer>;
}

async function openContent(
  { header, block, extensions: { records } }: FoundEntry,
  stored: number,
  reader: ByteReader,
): Promise<OpenedContent> {
  if (header.type === 'S') return openSparse(await readOldSparseMap(block, reader), stored, reader);
  if (hasSparseMapInContent(records)) {
    const map = await readSparseMap(records, reader);
    return openSparse(map, stored - map.mapBytes, reader);
  }
  const map = sparseMapOf(records);
  if (map !== undefined) return openSparse(map, stored, reader);
  return { size: stored, content: unending(reader.parts(stored)) };
}

function openSparse(
  map: Parameters<typeof checkSparseMap>[0],
  stored: number,
  reader: ByteReader,
): OpenedContent {
  checkSparseMap(map, stored);
  return { size: map.size, content: unending(expandSparse(map, reader)) };
}

/** Lets a loop over parts be left and continued by another one. */
function unending(parts: AsyncGenerator<Buffer>): AsyncIterable<Buffer> {
  return { [Symbol.asyncIterator]: () => ({ next: () => parts.next() }) };
}

function applyExtensions({ header, extensions }: FoundEntry): TarEntry {
  const { records, longName, longTarget } = extensions;
  const fields = new Map(records.map(({ key, value }) => [key, value]));
  const name = textOf(fields, 'GNU.sparse.name') ?? textOf(fields, 'path') ?? longName ?? header.name;
  const kind = kindOf(header.type, name);
  return {
    kind,
    name,
    target: textOf(fields, 'linkpath') ?? longTarget ?? header.target,
    mode: header.mode,
    uid: decimalOf(fields, 'uid') ?? header.uid,
    gid: decimalOf(fields, 'gid') ?? header.gid,
    size: checkSize(decimalOf(fields, 'size') ?? header.size),
    mtime: Math.floor(secondsOf(fields) ?? header.mtime),
    major: header.major,
    minor: header.minor,
    xattrs: xattrsOf(records),
  };
}

function kindOf(type: string, name: string): EntryKind {
  const kind = KINDS[type];
  if (kind === undefined) throw new TarError(`has an entry of unsupported type ${JSON.stringify(type)}`);
  // archives of version 7 have no type for directories
  return kind === 'file' && type !== 'S' && name.endsWith('/') ? 'directory' : kind;
}

/** Attributes that squashfs can have, but none that directs overlayfs: a layer has whiteouts for that. */
const XATTR = /^SCHILY\.xattr\.((?:user|trusted|security)\.(?!overlay\.).+)$/s;

function xattrsOf(records: readonly PaxRecord[]): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const { key, value } of records) {
    const name = XATTR.exec(key)?.[1];
    // a copy: the value is part of a larger buffer, and directories stay in memory
    if (name !== undefined) xattrs.set(name, Buffer.from(value));
  }
  return xattrs;
}

type Fields = ReadonlyMap<string, Buffer>;

/** Returns a text; an empty one removes the field of the extended header. */
function textOf(fields: Fields, key: string): string | undefined {
  const value = fields.get(key);
  if (value === undefined || value.length === 0) return undefined;
  if (value.includes(0)) throw new TarError(`has a zero byte in ${key} of an extended header`);
  return value.toString('latin1');
}

function decimalOf(fields: Fields, key: string): number | undefined {
  const text = textOf(fields, key);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new TarError(`has an extended header whose ${key} is no number`);
  return Number(text);
}

function secondsOf(fields: Fields): number | undefined {
  const text = textOf(fields, 'mtime');
  if (text === undefined) return undefined;
  if (!/^-?\d{1,15}(?:\.\d*)?$/.test(text))
    throw new TarError('has an extended header without a valid modification time');
  return Number(text);
}

function checkSize(size: number): number {
  if (size < 0) throw new TarError('has an entry with a negative size');
  return size;
}

async function readPadded(reader: ByteReader, size: number): Promise<Buffer> {
  if (size < 0 || size > EXTENDED_MAX_BYTES) {
    throw new TarError(`has an extended header of more than ${EXTENDED_MAX_BYTES} bytes`);
  }
  const bytes = await reader.read(size + paddingOf(size));
  if (bytes === undefined && size > 0) throw new TarError('ends within an extended header: it is truncated');
  return (bytes ?? Buffer.alloc(0)).subarray(0, size);
}

function paddingOf(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

function untilZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
}
