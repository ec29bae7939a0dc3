import { readdir, open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { joinExtents, type Extent } from './extents.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/*
 * Memory of guests on the host: the backing of RAM zones, and the mapped memory of a QEMU process, which snapshots read and write.
 *
 * Invariants: RAM is read only while the guest is paused. A file of a user is used as RAM only where it exists with enough bytes.
 * Copies are sparse: pages that were never written, or are all zeros, stay holes.
 */

/** A part of a process's address space (proc(5), maps). */
export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** writes to it are visible to other processes */
  readonly shared: boolean;
  /** start of the mapping in the file, in `bytes` */
  readonly offset: number;
  /** `major:minor` in hexadecimal and inode; inode 0: no file */
  readonly device: string;
  readonly inode: number;
}

/** Returns the mapping of an address of a process. @throws where there is none */
export async function mappingAt(pid: number, address: number): Promise<Mapping> {
  const maps = await readFile(`/proc/${pid}/maps`, 'latin1');
  for (const line of maps.split('\n')) {
    const mapping = parseMapping(line);
    if (mapping !== undefined && mapping.start <= address && address < mapping.end) return mapping;
  }
  throw new Error(`process ${pid} has no memory at 0x${address.toString(16)}`);
}

function parseMapping(line: string): Mapping | undefined {
  const match = /^([0-9a-f]+)-([0-9a-f]+) ...([ps]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)/.exec(line);
  if (match === null) return undefined;
  const [, start = '', end = '', kind, offset = '', device = '', inode] = match;
  return {
    start: Number.parseInt(start, 16),
    end: Number.parseInt(end, 16),
    shared: kind === 's',
    offset: Number.parseInt(offset, 16),
    device,
    inode: Number(inode),
  };
}

/**
 * Opens the file behind a mapping by one of the process's own descriptors, so that a file without a name is found as well.
 * @throws where the process does not hold it open
 */
export async function openMapped(
  pid: number,
  { inode, device }: Mapping,
  flags: 'r' | 'r+',
): Promise<FileHandle> {
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    // a descriptor may be closed meanwhile
    const found = await stat(path).catch(() => undefined);
    if (found?.ino === inode && deviceText(found.dev) === device) return open(path, flags);
  }
  throw new Error(`process ${pid} does not hold the file behind its memory open`);
}

/** Returns whether a path names the regular file that a mapping is of. */
export async function isFileOf({ inode, device }: Mapping, path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && found.ino === inode && deviceText(found.dev) === device;
}

/** Formats st_dev as in maps: Linux encodes 12 bits of major and 20 of minor. */
function deviceText(dev: number): string {
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const hex = (part: number): string => part.toString(16).padStart(2, '0');
  return `${hex(major)}:${hex(minor)}`;
}

/** Opens the memory of a process; positions are its own addresses. */
export function openMemory(pid: number, flags: 'r' | 'r+'): Promise<FileHandle> {
  return open(`/proc/${pid}/mem`, flags);
}

const ENTRY_BYTES = 8;
/** Entries of one read: 512 MiB of memory. */
const ENTRIES = 1 << 17;

/** Bits of the upper half of an entry (proc(5), pagemap): present, swapped out, of a file or shared. */
const PRESENT = 2 ** 31;
const SWAPPED = 2 ** 30;
const OF_FILE = 2 ** 29;

/**
 * Returns the private pages of a region: written since a file was mapped privately, or touched where there is no
 * file. Offsets are those of the region.
 */
export async function ownPages(pid: number, address: number, length: number): Promise<Extent[]> {
  await using pagemap = await open(`/proc/${pid}/pagemap`, 'r');
  const buffer = Buffer.alloc(ENTRIES * ENTRY_BYTES);
  const pages = length / PAGE_BYTES;
  const extents: Extent[] = [];
  for (let page = 0; page < pages;) {
    const wanted = Math.min(ENTRIES, pages - page) * ENTRY_BYTES;
    const { bytesRead } = await pagemap.read(buffer, 0, wanted, (address / PAGE_BYTES + page) * ENTRY_BYTES);
    const entries = Math.floor(bytesRead / ENTRY_BYTES);
    if (entries === 0) throw new Error(`process ${pid} has ended`);
    for (let i = 0; i < entries; i++) {
      const flags = buffer.readUInt32LE(i * ENTRY_BYTES + 4);
      if (isOwn(flags)) extents.push({ offset: (page + i) * PAGE_BYTES, length: PAGE_BYTES });
    }
    page += entries;
  }
  return joinExtents(extents, 0);
}

function isOwn(flags: number): boolean {
  // bit operators return negative numbers for the highest bit
  return ((flags & PRESENT) !== 0 || (flags & SWAPPED) !== 0) && (flags & OF_FILE) === 0;
}
