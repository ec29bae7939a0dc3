import type { FileHandle } from 'node:fs/promises';
import { copyExtents } from '../../host/copy-extents.ts';
import { dataExtents, joinExtents, type Extent } from '../../host/extents.ts';
import { mappingAt, openMapped, openMemory, ownPages, type Mapping } from '../../host/process-memory.ts';
import type { RamBlock } from '../../qemu/ram-blocks.ts';
import type { SavedRegion } from './saved-machine.ts';

/** Where regions begin in the file: a huge page's boundary. */
const ALIGNMENT_BYTES = 2 * 2 ** 20;

/** Pages that are this close together are read in one go with what lies between, in `bytes`. */
const GAP_BYTES = 64 * 1024;

/** What was written of a machine's RAM. */
export interface SavedMemory {
  readonly regions: readonly SavedRegion[];
  /** of the file, in `bytes` */
  readonly size: number;
  /** what had been touched, in `bytes` */
  readonly touched: number;
}

/** Places regions one behind the other. */
export function layRegions(blocks: readonly RamBlock[]): Omit<SavedMemory, 'touched'> {
  let size = 0;
  const regions = blocks.map(({ name, length }) => {
    const offset = size;
    size = Math.ceil((offset + length) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return { id: name, offset, length };
  });
  return { regions, size };
}

/** Writes what a paused machine has touched of its RAM into a file; the rest stays a hole. */
export async function saveMemory(
  pid: number,
  blocks: readonly RamBlock[],
  file: FileHandle,
): Promise<SavedMemory> {
  const { regions, size } = layRegions(blocks);
  // the whole size from the start: where the disk has no room for the file's map at all, nothing is copied in vain
  await file.truncate(size);
  let touched = 0;
  for (const [i, block] of blocks.entries()) {
    const base = regions[i]?.offset ?? 0;
    touched += await saveRegion(pid, block, { file, base });
  }
  return { regions, size, touched };
}

interface Target {
  readonly file: FileHandle;
  readonly base: number;
}

/**
 * RAM is found from outside, whatever it is mapped from: what lies in a file is taken from there (other processes may have
 * written it as well), then the pages that are QEMU's own over it.
 */
async function saveRegion(pid: number, block: RamBlock, to: Target): Promise<number> {
  const mapping = await mappingAt(pid, block.address);
  const hasFile = mapping.inode !== 0;
  const inFile = hasFile ? await copyFromFile(pid, block, { mapping, to }) : 0;
  if (mapping.shared) return inFile;
  const pages = await ownPages(pid, block.address, block.length);
  const extents = joinExtents(pages, GAP_BYTES);
  await using memory = await openMemory(pid, 'r');
  const from = { file: memory, base: block.address };
  // zeros must be written where the file has something else
  return inFile + (await copyExtents({ from, to, extents, skipZeros: !hasFile }));
}

interface FromFile {
  readonly mapping: Mapping;
  readonly to: Target;
}

async function copyFromFile(pid: number, block: RamBlock, { mapping, to }: FromFile): Promise<number> {
  await using file = await openMapped(pid, mapping, 'r');
  const base = mapping.offset + (block.address - mapping.start);
  const extents = await fileExtents(file, { offset: base, length: block.length });
  return await copyExtents({ from: { file, base }, to, extents, skipZeros: true });
}

/** Offsets are counted from the range's beginning. */
export async function fileExtents(file: FileHandle, range: Extent): Promise<Extent[]> {
  const extents = joinExtents(await dataExtents(file.fd, range), GAP_BYTES);
  return extents.map(({ offset, length }) => ({ offset: offset - range.offset, length }));
}
