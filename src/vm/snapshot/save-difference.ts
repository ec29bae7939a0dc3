import type { FileHandle } from 'node:fs/promises';
import type { RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import { sizeOf } from '../../host/memory/extent-sets.ts';
import { limitExtents, type Extent } from '../../host/memory/extents.ts';
import { changedPages } from './chain/changed-pages.ts';
import { writePacked } from './chain/packed-pages.ts';
import { openBase, type OpenBase, type SnapshotBase } from './chain/snapshot-base.ts';
import { ALIGNMENT_BYTES, saveOverlay, saveRegion, type SavedMemory, type Saving } from './save-memory.ts';
import type { SavedOverlay, SavedRegion } from '../../snapshot-files/memory-layout.ts';

/** Most runs of pages of a region; unchanged pages between are written then. */
const RUNS_MAX = 200_000;

/** A base, and the file that gets the difference. */
interface DifferenceTarget {
  readonly base: SnapshotBase;
  readonly file: FileHandle;
  /** private pages of blocks, where `pid` is not QEMU */
  readonly own?: ReadonlyMap<string, readonly Extent[]> | undefined;
}

/**
 * Writes the RAM of a paused machine that differs from a snapshot into a file. Regions that the snapshot lacks, or has with another
 * size, are written whole.
 */
export async function saveDifference(
  pid: number,
  { blocks, overlaid, zones, amount, signal }: Saving,
  { base, file, own }: DifferenceTarget,
): Promise<SavedMemory> {
  await using opened = await openBase(base);
  const regions: SavedRegion[] = [];
  let size = 0;
  for (const block of blocks) {
    const zone = zones.get(block.name)?.zone;
    const target = { file, start: zone === undefined ? aligned(size) : size, amount, signal };
    const region =
      zone === undefined
        ? await saveBlock(pid, block, { opened, ownPages: base.ownPages, own: own?.get(block.name), target })
        : { id: block.name, offset: size, length: block.length, zone };
    regions.push(region);
    size = endOf(region);
  }
  const overlays: SavedOverlay[] = [];
  for (const block of overlaid) {
    const start = aligned(size);
    overlays.push(await saveOverlay(pid, block, { file, base: start, amount, signal }));
    size = start + block.length;
  }
  await file.truncate(size);
  return { regions, overlays, size };
}

function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

function endOf({ offset, length, zone, pages }: SavedRegion): number {
  if (zone !== undefined) return offset;
  return offset + (pages === undefined ? length : sizeOf(pages));
}

interface BlockContext {
  readonly opened: OpenBase;
  readonly ownPages: SnapshotBase['ownPages'];
  readonly own: readonly Extent[] | undefined;
  readonly target: Parameters<typeof writePacked>[1];
}

async function saveBlock(
  pid: number,
  block: RamBlock,
  { opened: { sources, files }, ownPages, own, target }: BlockContext,
): Promise<SavedRegion> {
  const { name: id, length, address } = block;
  const { start: offset, file, amount, signal } = target;
  const source = sources.get(id);
  if (source?.length !== length) {
    await saveRegion(pid, block, { file, base: offset, amount, signal });
    return { id, offset, length };
  }
  const knownOwn = ownPages.get(id);
  const { data, pages } = await changedPages({ pid, block, source, knownOwn, own }, files, signal);
  // a longer list makes a `state.json` that is not read again
  const found = { data, pages: limitExtents(pages, RUNS_MAX) };
  await writePacked({ pid, address, found }, target);
  return { id, offset, length, pages: [...found.pages] };
}
