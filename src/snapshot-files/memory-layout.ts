import * as v from 'valibot';
import { sizeOf } from '../host/memory/extent-sets.ts';
import type { Extent } from '../host/memory/extents.ts';
import { few, Name, parseSaved, whole } from '../schema/saved-values.ts';
import { PAGE_BYTES } from '../util/page.ts';
import { parseState } from './state-text.ts';

/** A run of pages within a region, in `bytes`. */
const Pages = v.object({ offset: whole(), length: whole() });

/** A region of RAM and its place in `memory-ranges`, in `bytes`. */
const SavedRegion = v.object({
  id: Name,
  offset: whole(),
  length: whole(),
  /** memory zone whose `file` holds the region, which is not in `memory-ranges` then */
  zone: v.optional(Name),
  /** the pages that `memory-ranges` has, one after another from `offset` on; the base has the others. Without it, all are there. */
  pages: v.optional(v.array(Pages)),
});
export type SavedRegion = v.InferOutput<typeof SavedRegion>;

/** Pages over a file that is not in the snapshot, and their place in the region, which is their place in `memory-ranges`. */
const SavedOverlay = v.object({ ...SavedRegion.entries, pages: v.array(Pages) });
export type SavedOverlay = v.InferOutput<typeof SavedOverlay>;

/** The snapshot from which a differential one differs. */
const SavedBase = v.object({
  /** absolute path of its folder when the differential one was written */
  path: v.string(),
  /** the same path, relative to the folder of the differential one */
  relativePath: v.string(),
  /** SHA-256 of its `state.json`, in hexadecimal */
  sha256: v.string(),
});
export type SavedBase = v.InferOutput<typeof SavedBase>;

/** Most snapshots with the same contents: one for each composition of a composed snapshot. */
export const REPLACED_MAX = 64;

/** Members of `state.json` that place RAM in files. */
export const LAYOUT_MEMBERS = {
  base: v.optional(SavedBase),
  /**
   * SHA-256 of the `state.json` of snapshots that this one was composed from, in hexadecimal: it has the same contents, so it can be the
   * base of the snapshots whose base they were
   */
  replaces: v.optional(few(v.string(), REPLACED_MAX)),
  regions: few(SavedRegion, 4096),
  overlays: v.optional(few(SavedOverlay), []),
};

const MemoryLayoutSchema = v.object(LAYOUT_MEMBERS);
/** Places of a snapshot's RAM: in its own `memory-ranges`, in its base, and in files of memory zones. */
export type MemoryLayout = v.InferOutput<typeof MemoryLayoutSchema>;

/**
 * Parses the places of RAM in `state.json`; `memory-ranges` has `memoryBytes`.
 * @throws Error naming the invalid member
 */
export function parseMemoryLayout(state: Buffer, memoryBytes: number): MemoryLayout {
  const layout = parseSaved(MemoryLayoutSchema, parseState(state).members);
  checkMemoryLayout(layout, memoryBytes);
  return layout;
}

/** Checks that all RAM is within a `memory-ranges` of `memoryBytes`. @throws Error naming the region that is not */
export function checkMemoryLayout({ regions, overlays }: MemoryLayout, memoryBytes: number): void {
  const inFile = regions.filter(({ zone }) => zone === undefined).map(placeInFile);
  for (const { id, offset, length } of [...inFile, ...overlays]) {
    if (offset % PAGE_BYTES !== 0 || offset + length > memoryBytes) {
      throw new Error(`the region ${id} is not within the ${memoryBytes} bytes of memory-ranges`);
    }
  }
  for (const { id, length, pages } of overlays) {
    if (pages.every((run) => run.offset + run.length <= length)) continue;
    throw new Error(`pages of the region ${id} are not within it`);
  }
  for (const { id, length, pages = [] } of [...regions, ...overlays]) checkPages(id, length, pages);
  checkApart([...inFile, ...overlays]);
  checkOnce([...regions, ...overlays]);
}

/** Checks that no byte of `memory-ranges` belongs to two regions. */
function checkApart(places: readonly SavedRegion[]): void {
  let [end, before] = [0, ''];
  for (const { id, offset, length } of places.toSorted((a, b) => a.offset - b.offset)) {
    if (length === 0) continue;
    if (offset < end) throw new Error(`the regions ${before} and ${id} overlap in memory-ranges`);
    [end, before] = [offset + length, id];
  }
}

function checkOnce(places: readonly SavedRegion[]): void {
  const ids = new Set<string>();
  for (const { id } of places) {
    if (ids.has(id)) throw new Error(`the region ${id} is there twice`);
    ids.add(id);
  }
}

/** Returns the place of a region in `memory-ranges`: only its pages are there if it has a list of them. */
function placeInFile({ id, offset, length, pages }: SavedRegion): SavedRegion {
  return { id, offset, length: pages === undefined ? length : sizeOf(pages) };
}

/** Checks that the pages of a differential snapshot are whole, in ascending order, and within their region. */
function checkPages(id: string, length: number, pages: readonly Extent[]): void {
  let end = 0;
  for (const run of pages) {
    const isWhole = run.offset % PAGE_BYTES === 0 && run.length % PAGE_BYTES === 0 && run.length > 0;
    if (!isWhole || run.offset < end || run.offset + run.length > length) {
      throw new Error(`the pages of the region ${id} are not in order within it`);
    }
    end = run.offset + run.length;
  }
}
