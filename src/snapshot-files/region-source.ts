import { intersect, subtract, unite } from '../host/memory/extent-sets.ts';
import type { Extent } from '../host/memory/extents.ts';
import type { SavedRegion } from './memory-layout.ts';

/** Most snapshots of a chain: each one is read at a restore. */
export const CHAIN_MAX = 8;

/** A part of a region in a file, in `bytes`: `offset` is that in the region, `at` that in the file. */
export interface Piece extends Extent {
  readonly path: string;
  readonly at: number;
}

/** Contents of a region of RAM in the files of a chain. */
export interface RegionSource {
  readonly id: string;
  /** size of the region, in `bytes` */
  readonly length: number;
  /** the file that has the whole region, and where it begins there */
  readonly whole: { readonly path: string; readonly offset: number };
  /** newer parts, in ascending order; none overlap */
  readonly newer: readonly Piece[];
}

/** RAM of one snapshot of a chain. */
export interface ChainMember {
  readonly folder: string;
  /** path of `memory-ranges` */
  readonly path: string;
  /** changes when the files are replaced: pages are at other places then; see `isUnchanged` */
  readonly identity: string;
  readonly regions: readonly SavedRegion[];
}

/**
 * Returns the contents of the regions of a chain's first snapshot. Regions in files of memory zones have none. The first snapshot is
 * the newest one, each other one is the base of that before it.
 * @throws Error naming the snapshot that lacks a region
 */
export function regionSources(chain: readonly ChainMember[]): RegionSource[] {
  const [newest] = chain;
  return (newest?.regions ?? [])
    .filter(({ zone }) => zone === undefined)
    .map((region) => sourceOf(region, chain));
}

function sourceOf({ id, length }: SavedRegion, chain: readonly ChainMember[]): RegionSource {
  let newer: Piece[] = [];
  for (const { folder, path, regions } of chain) {
    const region = regions.find((one) => one.id === id && one.zone === undefined);
    if (region === undefined)
      throw new Error(`${folder}: has no region ${id}, and is the base of one that has`);
    if (region.length !== length) {
      throw new Error(`${folder}: its region ${id} has ${region.length} bytes, not ${length}`);
    }
    if (region.pages === undefined) return { id, length, whole: { path, offset: region.offset }, newer };
    newer = withOlder(newer, packedPieces(path, region.offset, region.pages));
  }
  throw new Error(`${chain.at(-1)?.folder}: has only a part of the region ${id}, and no base`);
}

/** Returns the places of runs that lie one after another in a file, from `start` on. */
export function packedPieces(path: string, start: number, pages: readonly Extent[]): Piece[] {
  let at = start;
  return pages.map(({ offset, length }) => {
    const piece = { offset, length, path, at };
    at += length;
    return piece;
  });
}

/** Adds the parts of older pieces that newer ones leave. */
function withOlder(newer: readonly Piece[], older: readonly Piece[]): Piece[] {
  const left = piecesWithin(older, subtract(older, newer));
  return [...newer, ...left].toSorted((a, b) => a.offset - b.offset);
}

/** Returns the parts of pieces that are in a set of runs of their region. */
export function piecesWithin(pieces: readonly Piece[], runs: readonly Extent[]): Piece[] {
  const found: Piece[] = [];
  for (let i = 0, j = 0; ;) {
    const [piece, run] = [pieces[i], runs[j]];
    if (piece === undefined || run === undefined) return found;
    const [pieceEnd, runEnd] = [piece.offset + piece.length, run.offset + run.length];
    const offset = Math.max(piece.offset, run.offset);
    const length = Math.min(pieceEnd, runEnd) - offset;
    if (length > 0) found.push({ path: piece.path, at: piece.at + offset - piece.offset, offset, length });
    if (pieceEnd < runEnd) i++;
    else j++;
  }
}

/** Returns where the bytes of some runs of a region lie: their pieces in the order of the runs. */
export function piecesOf({ whole, newer }: RegionSource, runs: readonly Extent[]): Piece[] {
  const ofWhole = subtract(runs, intersect(runs, runsOf(newer))).map(({ offset, length }) => ({
    offset,
    length,
    path: whole.path,
    at: whole.offset + offset,
  }));
  return [...ofWhole, ...piecesWithin(newer, runs)].toSorted((a, b) => a.offset - b.offset);
}

/** Returns the paths of the files that hold regions. */
export function pathsOf(sources: readonly RegionSource[]): Set<string> {
  return new Set(sources.flatMap(({ whole, newer }) => [whole.path, ...newer.map(({ path }) => path)]));
}

/** Returns the runs of a region that pieces cover. */
export function runsOf(pieces: readonly Piece[]): Extent[] {
  return unite(
    pieces.map(({ offset, length }) => ({ offset, length })),
    [],
  );
}

/** Returns a part of a piece. */
export function partOfPiece({ path, offset, at }: Piece, from: number, length: number): Piece {
  return { path, offset: offset + from, at: at + from, length };
}

/** Joins pieces that also follow each other in their file, so that fewer reads are needed. */
export function joinInFile(pieces: readonly Piece[]): { path: string; at: number; length: number }[] {
  const joined: { path: string; at: number; length: number }[] = [];
  for (const { path, at, length } of pieces) {
    const last = joined.at(-1);
    if (last?.path === path && last.at + last.length === at) last.length += length;
    else joined.push({ path, at, length });
  }
  return joined;
}
