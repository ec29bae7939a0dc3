import { renderPax, type PaxRecord } from './pax.ts';
import { quote } from './entry-path.ts';
import { BLOCK_BYTES, renderHeader, TarError } from './tar-header.ts';
import type { EntryKind, TarEntry } from './tar-reader.ts';

const TYPES: Readonly<Record<EntryKind, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** Largest values of the octal fields of a header. */
const ID_FIELD_MAX = 0o7777777;
const SIZE_FIELD_MAX = 0o77777777777;
const TEXT_FIELD_MAX = 100;

/** Bounds of squashfs: 32-bit ids and times, and device numbers of Linux. */
const UINT32_MAX = 2 ** 32 - 1;
const MAJOR_MAX = 2 ** 12 - 1;
const MINOR_MAX = 2 ** 20 - 1;

/** Most bytes of an extended header that tar2sqfs reads. */
const EXTENDED_MAX_BYTES = 65_536;

/** Renders the headers of an entry for tar2sqfs. @throws TarError for values that squashfs cannot have */
export function renderEntry(entry: TarEntry): Buffer {
  const checked = checkBounds(entry);
  const { kind, name, target, uid, gid, size } = checked;
  const records: PaxRecord[] = xattrRecords(entry);
  if (name.length > TEXT_FIELD_MAX) records.push(record('path', name));
  if (target.length > TEXT_FIELD_MAX) records.push(record('linkpath', target));
  if (uid > ID_FIELD_MAX) records.push(record('uid', String(uid)));
  if (gid > ID_FIELD_MAX) records.push(record('gid', String(gid)));
  if (size > SIZE_FIELD_MAX) records.push(record('size', String(size)));
  const header = renderHeader({
    ...checked,
    name: name === '' ? './' : name.slice(0, TEXT_FIELD_MAX),
    target: target.slice(0, TEXT_FIELD_MAX),
    type: TYPES[kind],
    uid: Math.min(uid, ID_FIELD_MAX),
    gid: Math.min(gid, ID_FIELD_MAX),
    size: Math.min(size, SIZE_FIELD_MAX),
    mtime: Math.min(Math.max(entry.mtime, 0), UINT32_MAX),
  });
  return records.length === 0 ? header : Buffer.concat([extendedHeader(entry, records), header]);
}

/** Returns the zeros behind the content of an entry. */
export function paddingAfter(size: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** End of an archive: two zero blocks. */
export const ARCHIVE_END = Buffer.alloc(2 * BLOCK_BYTES);

function checkBounds(entry: TarEntry): TarEntry {
  const { name, uid, gid, major, minor, kind } = entry;
  if (!isWithin(uid, UINT32_MAX) || !isWithin(gid, UINT32_MAX)) {
    throw new TarError(`${quote(name)}: has the owner ${uid}:${gid}; ids have 32 bits`);
  }
  const isDevice = kind === 'character' || kind === 'block';
  if (!isDevice) return { ...entry, major: 0, minor: 0 };
  if (!isWithin(major, MAJOR_MAX) || !isWithin(minor, MINOR_MAX)) {
    throw new TarError(`${quote(name)}: has the device number ${major}:${minor}, beyond those of Linux`);
  }
  return entry;
}

function isWithin(value: number, max: number): boolean {
  return value >= 0 && value <= max;
}

function xattrRecords({ xattrs }: TarEntry): PaxRecord[] {
  return [...xattrs].map(([key, value]) => ({ key: `SCHILY.xattr.${key}`, value }));
}

function record(key: string, value: string): PaxRecord {
  return { key, value: Buffer.from(value, 'latin1') };
}

function extendedHeader({ name }: TarEntry, records: readonly PaxRecord[]): Buffer {
  const content = renderPax(records);
  if (content.length > EXTENDED_MAX_BYTES) {
    throw new TarError(`${quote(name)}: its extended attributes have more than ${EXTENDED_MAX_BYTES} bytes`);
  }
  const header = renderHeader({
    name: 'pax',
    type: 'x',
    target: '',
    mode: 0,
    uid: 0,
    gid: 0,
    size: content.length,
    mtime: 0,
    major: 0,
    minor: 0,
  });
  return Buffer.concat([header, content, paddingAfter(content.length)]);
}
