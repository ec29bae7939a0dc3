/** Snapshots without a VM, for tests: their RAM is in buffers. */
import { mkdirSync, writeFileSync, openSync, writeSync, closeSync, ftruncateSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Extent } from '../host/memory/extents.ts';
import { hashOf, manifestOf, withFacts } from './manifest.ts';
import type { SavedBase, SavedOverlay, SavedRegion } from './memory-layout.ts';

export const PAGE = 4096;

/** A region of a snapshot: all of its RAM, or some pages. */
export interface TestRegion {
  readonly id: string;
  /** contents; of a region in the file of a memory zone only the size counts */
  readonly ram: Buffer;
  readonly pages?: readonly Extent[];
  readonly zone?: string;
}

/** A snapshot that was written. */
export interface TestSnapshot {
  readonly folder: string;
  readonly sha256: string;
}

interface Contents {
  readonly regions: readonly TestRegion[];
  readonly overlays?: readonly TestRegion[];
  readonly base?: TestSnapshot;
  /** smallest size of `memory-ranges`, in bytes */
  readonly size?: number;
  /** changes members of `state.json` */
  readonly edit?: (state: Record<string, unknown>) => void;
}

/** Writes a snapshot; pages of zeros are holes. */
export function writeSnapshot(
  folder: string,
  { regions, overlays = [], base, edit, size: least = 0 }: Contents,
): TestSnapshot {
  mkdirSync(folder);
  const file = openSync(join(folder, 'memory-ranges'), 'w');
  let size = 0;
  const put = ({ id, ram, pages, zone }: TestRegion, isPacked: boolean): SavedRegion => {
    const offset = size;
    const region = { id, offset, length: ram.length };
    if (zone !== undefined) return { ...region, zone };
    let at = offset;
    for (const run of pages ?? [{ offset: 0, length: ram.length }]) {
      const place = isPacked && pages !== undefined ? at : offset + run.offset;
      for (let page = 0; page < run.length; page += PAGE) {
        const bytes = ram.subarray(run.offset + page, run.offset + page + PAGE);
        if (bytes.some((byte) => byte !== 0)) writeSync(file, bytes, 0, bytes.length, place + page);
      }
      at += run.length;
    }
    size = isPacked && pages !== undefined ? at : offset + ram.length;
    return pages === undefined ? region : { ...region, pages: [...pages] };
  };
  const placed = regions.map((one) => put(one, true));
  const over = overlays.map((one) => ({
    ...put(one, false),
    pages: [...(one.pages ?? [])],
  })) satisfies SavedOverlay[];
  size = Math.max(size, least);
  ftruncateSync(file, size);
  closeSync(file);
  return finish(folder, { regions: placed, overlays: over, base, edit, size });
}

interface Finish {
  readonly regions: SavedRegion[];
  readonly overlays: SavedOverlay[];
  readonly base: TestSnapshot | undefined;
  readonly edit: Contents['edit'];
  readonly size: number;
}

function finish(folder: string, { regions, overlays, base, edit, size }: Finish): TestSnapshot {
  const reference: SavedBase | undefined = base && {
    path: base.folder,
    relativePath: relative(folder, base.folder),
    sha256: base.sha256,
  };
  const machine: Record<string, unknown> = {
    machine: folder,
    base: reference,
    regions,
    overlays,
    deviceState: 'AAAA',
  };
  edit?.(machine);
  const facts = { engine: 'QEMU 10.0.2', memorySize: size, regions, ...(reference && { base: reference }) };
  const state = withFacts(JSON.stringify(machine), facts);
  writeFileSync(join(folder, 'config.json'), '{"config": "of the VM"}\n');
  writeFileSync(join(folder, 'state.json'), state);
  writeFileSync(join(folder, 'manifest.json'), manifestOf(state, facts));
  return { folder, sha256: hashOf(state) };
}

/** Returns RAM of zeros, with some pages filled with a byte. */
export function ramOf(pages: number, filled: Readonly<Record<number, number>> = {}): Buffer {
  const ram = Buffer.alloc(pages * PAGE);
  for (const [page, byte] of Object.entries(filled))
    ram.fill(byte, Number(page) * PAGE, (Number(page) + 1) * PAGE);
  return ram;
}

/** Returns a run of pages. */
export function pagesAt(page: number, count = 1): Extent {
  return { offset: page * PAGE, length: count * PAGE };
}
