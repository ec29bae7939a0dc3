import type { FileHandle } from 'node:fs/promises';
import { copyExtents, type Amount } from '../../host/memory/copy-extents.ts';
import { copyMapped } from '../../host/memory/copy-mapped.ts';
import { dataExtents, joinExtents, type Extent } from '../../host/memory/extents.ts';
import { ownPages } from '../../host/memory/own-pages.ts';
import { mappingAt, openMapped, type Mapping } from '../../host/memory/process-memory.ts';
import type { RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { SavedOverlay, SavedRegion } from '../../snapshot-files/memory-layout.ts';
import type { ZoneFile } from './zone-files.ts';
import { HUGE_PAGE_BYTES } from '../../util/page.ts';

/** Alignment of whole regions in the file: a huge page, in `bytes`. */
export const ALIGNMENT_BYTES = HUGE_PAGE_BYTES;

/** Runs of pages with smaller gaps are read together, in `bytes`. */
const GAP_BYTES = 64 * 1024;

/** RAM of a machine in a file. */
export interface SavedMemory {
  readonly regions: readonly SavedRegion[];
  readonly overlays: readonly SavedOverlay[];
  /** size of the file, in `bytes` */
  readonly size: number;
}

/** Places regions in the file, in their order. A region in the file of a memory zone takes no space. */
export function layRegions(
  blocks: readonly RamBlock[],
  zones: ReadonlyMap<string, ZoneFile>,
): Omit<SavedMemory, 'overlays'> {
  let size = 0;
  const regions = blocks.map(({ name, length }) => {
    const offset = size;
    const zone = zones.get(name)?.zone;
    if (zone !== undefined) return { id: name, offset, length, zone };
    size = Math.ceil((offset + length) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return { id: name, offset, length };
  });
  return { regions, size };
}

/** Memory that is saved. */
export interface Saving {
  /** blocks in the file of a memory zone, by name: they are not written again */
  readonly zones: ReadonlyMap<string, ZoneFile>;
  /** blocks of which all touched pages are saved */
  readonly blocks: readonly RamBlock[];
  /** blocks of which only the private pages over their mapped file are saved */
  readonly overlaid: readonly RamBlock[];
  /** progress: touched pages are added to its total when they are found, and to `done` when they are written */
  readonly amount: Amount;
  /** aborts the work */
  readonly signal: AbortSignal;
}

/** RAM that is being written. */
export interface StartedSave {
  /** contents of the file, when it is written */
  readonly memory: SavedMemory;
  /** settles when the file is written; a rejection is not reported elsewhere */
  readonly written: Promise<void>;
}

/** Starts to write RAM of a paused machine into a sparse file: pages never touched, or all zero, are holes. */
export async function saveMemory(pid: number, saving: Saving, file: FileHandle): Promise<StartedSave> {
  const { blocks, overlaid, zones, amount, signal } = saving;
  const { regions, size } = layRegions([...blocks, ...overlaid], zones);
  // the whole size first: if the file system cannot hold such a file, nothing is copied
  await file.truncate(size);
  const target = (i: number): Target => ({ file, base: regions[i]?.offset ?? 0, amount, signal });
  const overlays: SavedOverlay[] = [];
  for (const [i, block] of overlaid.entries()) {
    const { base } = target(blocks.length + i);
    overlays.push(await findOverlay(pid, block, base));
  }
  const write = async (): Promise<void> => {
    for (const [i, block] of blocks.entries()) {
      if (!zones.has(block.name)) await saveRegion(pid, block, target(i));
    }
    for (const [i, { address }] of overlaid.entries()) {
      const to = target(blocks.length + i);
      await copyMemory(pid, address, { to, extents: overlays[i]?.pages ?? [], skipZeros: false });
    }
  };
  const written = write();
  written.catch(() => undefined);
  return { memory: { regions: regions.slice(0, blocks.length), overlays, size }, written };
}

/** Saves the private pages of a block over its mapped file. */
export async function saveOverlay(pid: number, block: RamBlock, to: Target): Promise<SavedOverlay> {
  const overlay = await findOverlay(pid, block, to.base);
  await copyMemory(pid, block.address, { to, extents: overlay.pages, skipZeros: false });
  return overlay;
}

async function findOverlay(
  pid: number,
  { name, address, length }: RamBlock,
  offset: number,
): Promise<SavedOverlay> {
  return { id: name, offset, length, pages: await ownPages(pid, address, length) };
}

/** Place of a block in the file, and progress. */
export interface Target {
  readonly file: FileHandle;
  readonly base: number;
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/**
 * Saves one block. The contents of its mapped file are first, which other processes may have written as well; then the private pages
 * of QEMU over it.
 */
export async function saveRegion(pid: number, block: RamBlock, to: Target): Promise<void> {
  const mapping = await mappingAt(pid, block.address);
  const hasFile = mapping.inode !== 0;
  if (hasFile) await copyFromFile(pid, block, { mapping, to });
  if (mapping.shared) return;
  const extents = joinExtents(await ownPages(pid, block.address, block.length), GAP_BYTES);
  // zeros are written if the file may have other contents
  await copyMemory(pid, block.address, { to, extents, skipZeros: !hasFile });
}

interface FromMemory {
  readonly to: Target;
  readonly extents: readonly Extent[];
  readonly skipZeros: boolean;
}

async function copyMemory(pid: number, address: number, { to, ...options }: FromMemory): Promise<void> {
  const { amount, signal } = to;
  await copyExtents({ from: { pid, base: address }, to, ...options, amount, signal });
}

interface FromFile {
  readonly mapping: Mapping;
  readonly to: Target;
}

async function copyFromFile(pid: number, block: RamBlock, { mapping, to }: FromFile): Promise<void> {
  await using file = await openMapped(pid, mapping, 'r');
  const base = mapping.offset + (block.address - mapping.start);
  const exact = await dataOf(file, { offset: base, length: block.length });
  const { amount, signal } = to;
  const from = { file, base };
  if (await copyMapped({ from, to, extents: exact, amount, signal })) return;
  const extents = joinExtents(exact, GAP_BYTES);
  await copyExtents({ from, to, extents, skipZeros: true, amount, signal });
}

/** Returns the runs of data in a range of a file, joined where they are near; their offsets are relative to the start of the range. */
export async function fileExtents(file: FileHandle, range: Extent): Promise<Extent[]> {
  return joinExtents(await dataOf(file, range), GAP_BYTES);
}

async function dataOf(file: FileHandle, range: Extent): Promise<Extent[]> {
  const extents = await dataExtents(file.fd, range);
  return extents.map(({ offset, length }) => ({ offset: offset - range.offset, length }));
}
