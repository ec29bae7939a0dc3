import type { FileHandle } from 'node:fs/promises';
import { copyExtents, type Amount } from '../../host/memory/copy-extents.ts';
import { dataExtents, joinExtents, type Extent } from '../../host/memory/extents.ts';
import {
  mappingAt,
  openMapped,
  openMemory,
  ownPages,
  type Mapping,
} from '../../host/memory/process-memory.ts';
import type { RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { SavedOverlay, SavedRegion } from '../machine-state/machine-description.ts';
import type { ZoneFile } from './zone-files.ts';
import { HUGE_PAGE_BYTES } from '../../util/page.ts';

/** Where regions begin in the file: a huge page's boundary. */
const ALIGNMENT_BYTES = HUGE_PAGE_BYTES;

/** Pages that are this close together are read in one go with what lies between, in `bytes`. */
const GAP_BYTES = 64 * 1024;

/** What was written of a machine's RAM. */
export interface SavedMemory {
  readonly regions: readonly SavedRegion[];
  readonly overlays: readonly SavedOverlay[];
  /** of the file, in `bytes` */
  readonly size: number;
}

/** Places regions one behind the other. A region in the file of a memory zone takes no space. */
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

/** What is to be saved of a machine's memory. */
export interface Saving {
  /** blocks that lie in the file of a memory zone, by their name: they are not written again */
  readonly zones: ReadonlyMap<string, ZoneFile>;
  /** all that was touched */
  readonly blocks: readonly RamBlock[];
  /** of these only what lies over the file that is mapped there */
  readonly overlaid: readonly RamBlock[];
  /** what was touched is added to it as it is found and as it is written */
  readonly amount: Amount;
  /** ends it */
  readonly signal: AbortSignal;
}

/** Writes what a paused machine has touched of its RAM into a file; the rest stays a hole. */
export async function saveMemory(
  pid: number,
  { blocks, overlaid, zones, amount, signal }: Saving,
  file: FileHandle,
): Promise<SavedMemory> {
  const { regions, size } = layRegions([...blocks, ...overlaid], zones);
  // the whole size from the start: where the disk has no room for the file's map at all, nothing is copied in vain
  await file.truncate(size);
  const target = (i: number): Target => ({ file, base: regions[i]?.offset ?? 0, amount, signal });
  for (const [i, block] of blocks.entries()) {
    if (!zones.has(block.name)) await saveRegion(pid, block, target(i));
  }
  const overlays: SavedOverlay[] = [];
  for (const [i, region] of regions.slice(blocks.length).entries()) {
    const address = overlaid[i]?.address ?? 0;
    const pages = await ownPages(pid, address, region.length);
    await copyMemory(pid, address, { to: target(blocks.length + i), extents: pages, skipZeros: false });
    overlays.push({ ...region, pages });
  }
  return { regions: regions.slice(0, blocks.length), overlays, size };
}

interface Target {
  readonly file: FileHandle;
  readonly base: number;
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/**
 * RAM is found from outside, whatever it is mapped from: what lies in a file is taken from there (other processes may have
 * written it as well), then the pages that are QEMU's own over it.
 */
async function saveRegion(pid: number, block: RamBlock, to: Target): Promise<void> {
  const mapping = await mappingAt(pid, block.address);
  const hasFile = mapping.inode !== 0;
  if (hasFile) await copyFromFile(pid, block, { mapping, to });
  if (mapping.shared) return;
  const extents = joinExtents(await ownPages(pid, block.address, block.length), GAP_BYTES);
  // zeros must be written where the file has something else
  await copyMemory(pid, block.address, { to, extents, skipZeros: !hasFile });
}

interface FromMemory {
  readonly to: Target;
  readonly extents: readonly Extent[];
  readonly skipZeros: boolean;
}

async function copyMemory(pid: number, address: number, { to, ...what }: FromMemory): Promise<void> {
  await using memory = await openMemory(pid, 'r');
  const { amount, signal } = to;
  await copyExtents({ from: { file: memory, base: address }, to, ...what, amount, signal });
}

interface FromFile {
  readonly mapping: Mapping;
  readonly to: Target;
}

async function copyFromFile(pid: number, block: RamBlock, { mapping, to }: FromFile): Promise<void> {
  await using file = await openMapped(pid, mapping, 'r');
  const base = mapping.offset + (block.address - mapping.start);
  const extents = await fileExtents(file, { offset: base, length: block.length });
  const { amount, signal } = to;
  await copyExtents({ from: { file, base }, to, extents, skipZeros: true, amount, signal });
}

/** Offsets are counted from the range's beginning. */
export async function fileExtents(file: FileHandle, range: Extent): Promise<Extent[]> {
  const extents = joinExtents(await dataExtents(file.fd, range), GAP_BYTES);
  return extents.map(({ offset, length }) => ({ offset: offset - range.offset, length }));
}
