import { open, type FileHandle } from 'node:fs/promises';
import { scanPrivatePages } from '../../native/page-scan.ts';
import { PAGE_BYTES } from '../../util/page.ts';
import { joinExtents, type Extent } from './extents.ts';

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
  const scanned = await scanPrivatePages(pagemap.fd, { start: address, end: address + length });
  if (scanned === undefined) return await readPrivatePages(pid, pagemap, { offset: address, length });
  return joinExtents(
    scanned.map(({ start, end }) => ({ offset: start - address, length: end - start })),
    0,
  );
}

/** Does the same by an entry for each page, where the kernel cannot scan them. */
export async function readPrivatePages(
  pid: number,
  pagemap: FileHandle,
  { offset: address, length }: Extent,
): Promise<Extent[]> {
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
