import type { FileHandle } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { copyExtents, nonZeroExtents, type Amount } from '../host/memory/copy-extents.ts';
import { batchesOf, partOf, sizeOf, subtract } from '../host/memory/extent-sets.ts';
import { dataExtents, type Extent } from '../host/memory/extents.ts';
import { cloneRange, punchHole } from '../native/file-clone.ts';
import { loadLibc } from '../native/libc.ts';
import { RUNS_MAX } from '../native/process-copy.ts';
import { HUGE_PAGE_BYTES } from '../util/page.ts';
import type { SavedOverlay, SavedRegion } from './memory-layout.ts';
import type { OpenFiles } from './open-files.ts';
import { readSource } from './read-source.ts';
import { regionSources, runsOf, type ChainMember, type RegionSource } from './region-source.ts';

/** Part of a region of which the extents are listed at a time: the list is short, and the event loop is not blocked for long. */
const PART_BYTES = 64 * 2 ** 20;

const BATCH = { bytes: 1 << 20, runs: RUNS_MAX };

/** RAM in the `memory-ranges` of a full snapshot. */
export interface ComposedMemory {
  readonly regions: readonly SavedRegion[];
  readonly overlays: readonly SavedOverlay[];
  /** size of the file, in `bytes` */
  readonly size: number;
}

/** A chain whose RAM is composed. */
export interface ComposedChain {
  /** the newest snapshot first */
  readonly chain: readonly ChainMember[];
  /** those of the newest snapshot */
  readonly overlays: readonly SavedOverlay[];
}

/** Destination of the RAM. */
export interface ComposeTarget {
  /** new and empty; its owner closes it */
  readonly file: FileHandle;
  /** progress, in `bytes` that are copied; shared blocks are none */
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/**
 * Writes the RAM of a chain into a file as that of a full snapshot. The file shares the blocks of the chain's full snapshot where the
 * file system can, so that only newer pages are written. Holes stay holes.
 * @throws Error naming a file that ends early
 */
export async function composeMemory(
  { chain, overlays }: ComposedChain,
  files: OpenFiles,
  target: ComposeTarget,
): Promise<ComposedMemory> {
  await loadLibc();
  const [newest] = chain;
  const layout = layMemory(newest?.regions ?? [], overlays);
  await target.file.truncate(layout.size);
  const places = new Map(layout.regions.map(({ id, offset }) => [id, offset]));
  for (const source of regionSources(chain)) {
    await composeRegion(source, files, { ...target, base: places.get(source.id) ?? 0 });
  }
  for (const [i, { offset, pages }] of overlays.entries()) {
    const from = { file: await files.open(newest?.path ?? ''), base: offset };
    const to = { file: target.file, base: layout.overlays[i]?.offset ?? 0 };
    const { amount, signal } = target;
    await copyExtents({ from, to, extents: pages, skipZeros: true, amount, signal });
  }
  return layout;
}

/** Places regions and overlays one after another. A region in the file of a memory zone takes no space. */
function layMemory(regions: readonly SavedRegion[], overlays: readonly SavedOverlay[]): ComposedMemory {
  let size = 0;
  const place = (length: number): number => {
    const offset = size;
    size = Math.ceil((offset + length) / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES;
    return offset;
  };
  const laid = regions.map(({ id, length, zone }) =>
    zone === undefined ? { id, offset: place(length), length } : { id, offset: size, length, zone },
  );
  return {
    regions: laid,
    overlays: overlays.map((one) => ({ ...one, offset: place(one.length) })),
    size,
  };
}

interface RegionTarget extends ComposeTarget {
  /** offset of the region in the file, in `bytes` */
  readonly base: number;
}

async function composeRegion(source: RegionSource, files: OpenFiles, to: RegionTarget): Promise<void> {
  const { whole, length, newer } = source;
  const file = await files.open(whole.path);
  // a hole is no error of a read, so the end of the file is checked here
  if ((await file.stat()).size < whole.offset + length) throw new Error(`${whole.path}: ends early`);
  to.signal.throwIfAborted();
  const isShared = await cloneRange(
    { fd: file.fd, offset: whole.offset },
    { fd: to.file.fd, offset: to.base },
    length,
  );
  if (!isShared) await copyWhole(source, file, to);
  to.amount.total += sizeOf(newer);
  for (const batch of batchesOf(runsOf(newer), BATCH, partOf)) {
    await writeNewer(source, batch, { files, to, isShared });
  }
}

/** Copies the data of the chain's full snapshot that no newer page replaces. */
async function copyWhole(
  { whole, length, newer }: RegionSource,
  file: FileHandle,
  to: RegionTarget,
): Promise<void> {
  const replaced = runsOf(newer);
  for (let at = 0; at < length; at += PART_BYTES) {
    // a file of any size can be one hole, in which no call waits
    await nextTurn();
    to.signal.throwIfAborted();
    const range = { offset: whole.offset + at, length: Math.min(PART_BYTES, length - at) };
    const found = await dataExtents(file.fd, range);
    if (found.length === 0) continue;
    const data = found.map((run) => ({ offset: run.offset - whole.offset, length: run.length }));
    await copyExtents({
      from: { file, base: whole.offset },
      to,
      extents: subtract(data, replaced),
      skipZeros: true,
      amount: to.amount,
      signal: to.signal,
    });
  }
}

interface NewerContext {
  readonly files: OpenFiles;
  readonly to: RegionTarget;
  /** the file has the older contents: pages of zeros must replace them */
  readonly isShared: boolean;
}

async function writeNewer(
  source: RegionSource,
  batch: readonly Extent[],
  { files, to, isShared }: NewerContext,
): Promise<void> {
  to.signal.throwIfAborted();
  const bytes = Buffer.allocUnsafe(sizeOf(batch));
  await readSource(source, batch, { files, into: bytes });
  let done = 0;
  for (const { offset, length } of batch) {
    const run = bytes.subarray(done, done + length);
    const data = nonZeroExtents(run);
    for (const part of data) {
      await writeAll(
        to.file,
        run.subarray(part.offset, part.offset + part.length),
        to.base + offset + part.offset,
      );
    }
    for (const zeros of isShared ? subtract([{ offset: 0, length }], data) : []) {
      punchHole({ fd: to.file.fd, offset: to.base + offset + zeros.offset }, zeros.length);
    }
    done += length;
  }
  to.amount.done += bytes.length;
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
