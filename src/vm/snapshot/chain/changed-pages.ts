import {
  batchesOf,
  intersect,
  partOf,
  sizeOf,
  subtract,
  unite,
  wholePages,
} from '../../../host/memory/extent-sets.ts';
import { dataExtents, type Extent } from '../../../host/memory/extents.ts';
import { ownPages } from '../../../host/memory/own-pages.ts';
import { mappingAt, openMapped } from '../../../host/memory/process-memory.ts';
import { loadLibc } from '../../../native/libc.ts';
import { readProcess, RUNS_MAX } from '../../../native/process-copy.ts';
import type { RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { PAGE_BYTES } from '../../../util/page.ts';
import type { OpenFiles } from '../../../snapshot-files/open-files.ts';
import { readSource } from '../../../snapshot-files/read-source.ts';
import { runsOf, type RegionSource } from '../../../snapshot-files/region-source.ts';

/*
 * Differential snapshots of a machine: the pages that differ from its base. snapshot-files/ has the files.
 *
 *   snapshot-base.ts    the base of a machine, after a restore or a snapshot
 *   changed-pages.ts    finds the pages of a paused machine that differ from a snapshot; packed-pages.ts writes them
 *   apply-pages.ts      writes the pages of a chain into a machine that has not run
 */

/** Bytes that are compared at a time: a few milliseconds of the event loop at most. */
const BATCH_BYTES = 1 << 20;

const BATCH = { bytes: BATCH_BYTES, runs: RUNS_MAX };

/** Pages of a region. */
export interface FoundPages {
  /** in ascending order */
  readonly pages: readonly Extent[];
  /** runs that may have other bytes than zeros; all other pages are zeros, and need not be read */
  readonly data: readonly Extent[];
}

/** A region of a paused machine, and its contents in a snapshot. */
export interface ComparedRegion {
  readonly pid: number;
  readonly block: RamBlock;
  readonly source: RegionSource;
  /**
   * Private pages at the time of the snapshot, where QEMU has mapped a file of its chain: any other page that is not private now is
   * still that of the snapshot. undefined where QEMU has RAM of its own: each page with data is compared.
   */
  readonly knownOwn: readonly Extent[] | undefined;
  /** private pages of QEMU, where `pid` is another process; by default they are read */
  readonly own?: readonly Extent[] | undefined;
}

/** Finds the pages of a region that differ from a snapshot. Rejects when the signal aborts. */
export async function changedPages(
  region: ComparedRegion,
  files: OpenFiles,
  signal: AbortSignal,
): Promise<FoundPages> {
  await loadLibc();
  const { pid, block, source, knownOwn } = region;
  if (knownOwn !== undefined) {
    const own = region.own ?? (await ownPages(pid, block.address, block.length));
    const changed = await differingPages(region, { runs: knownOwn, isZero: false }, { files, signal });
    return { pages: unite(subtract(own, knownOwn), changed), data: [{ offset: 0, length: block.length }] };
  }
  const data = await touchedPages(pid, block);
  const inSnapshot = await pagesIn(source, files);
  const changed = await differingPages(region, { runs: data, isZero: false }, { files, signal });
  const released = { runs: subtract(inSnapshot, data), isZero: true };
  return { pages: unite(changed, await differingPages(region, released, { files, signal })), data };
}

/** Returns the pages of a region that may have other bytes than zeros. */
async function touchedPages(pid: number, block: RamBlock): Promise<Extent[]> {
  const mapping = await mappingAt(pid, block.address);
  const own = mapping.shared ? [] : await ownPages(pid, block.address, block.length);
  if (mapping.inode === 0) return own;
  await using file = await openMapped(pid, mapping, 'r');
  const base = mapping.offset + (block.address - mapping.start);
  return unite(pagesFrom(base, await dataExtents(file.fd, { offset: base, length: block.length })), own);
}

/** Returns the pages of a region that may have other bytes than zeros in a snapshot. */
async function pagesIn({ whole, newer, length }: RegionSource, files: OpenFiles): Promise<Extent[]> {
  const { fd } = await files.open(whole.path);
  const extents = await dataExtents(fd, { offset: whole.offset, length });
  return unite(pagesFrom(whole.offset, extents), runsOf(newer));
}

/** Returns the whole pages of extents of a file, relative to `base`. */
function pagesFrom(base: number, extents: readonly Extent[]): Extent[] {
  const relative = extents.map(({ offset, length }) => ({ offset: offset - base, length }));
  return wholePages(relative, PAGE_BYTES);
}

/** Pages of which some may differ. */
interface Candidates {
  readonly runs: readonly Extent[];
  /** the machine has zeros there: they are not read, as a read would allocate them */
  readonly isZero: boolean;
}

async function differingPages(
  { pid, block, source }: ComparedRegion,
  { runs, isZero }: Candidates,
  { files, signal }: { readonly files: OpenFiles; readonly signal: AbortSignal },
): Promise<Extent[]> {
  const now = Buffer.alloc(BATCH_BYTES);
  const then = Buffer.alloc(BATCH_BYTES);
  const found: Extent[] = [];
  for (const batch of batchesOf(runs, BATCH, partOf)) {
    signal.throwIfAborted();
    const bytes = sizeOf(batch);
    await readSource(source, batch, { files, into: then.subarray(0, bytes) });
    if (!isZero) {
      const addresses = batch.map(({ offset, length }) => ({ address: block.address + offset, length }));
      readProcess(pid, addresses, now.subarray(0, bytes));
    }
    if (now.compare(then, 0, bytes, 0, bytes) !== 0) addDiffering(found, batch, now, then);
  }
  return unite(found, []);
}

function addDiffering(found: Extent[], batch: readonly Extent[], now: Buffer, then: Buffer): void {
  let at = 0;
  for (const { offset, length } of batch) {
    for (let page = 0; page < length; page += PAGE_BYTES, at += PAGE_BYTES) {
      if (now.compare(then, at, at + PAGE_BYTES, at, at + PAGE_BYTES) === 0) continue;
      found.push({ offset: offset + page, length: PAGE_BYTES });
    }
  }
}

/** Returns the part of pages that must be read. */
export function readablePages({ pages, data }: FoundPages): Extent[] {
  return intersect(pages, data);
}
