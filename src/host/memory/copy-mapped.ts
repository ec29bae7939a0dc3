import { statfs, type FileHandle } from 'node:fs/promises';
import { duplicate } from '../../native/duplicate.ts';
import { loadLibc } from '../../native/libc.ts';
import { allocate, clear, mapOver, type Block } from '../../native/memory.ts';
import { blockReservation, type BlockReservation } from './block-reservation.ts';
import { copyExtents, nonZeroExtents, type Amount, type CopyEnd } from './copy-extents.ts';
import { batchesOf, partOf, sizeOf, subtract } from './extent-sets.ts';
import type { Extent } from './extents.ts';
import { createPieceWriter, type PieceWriter } from './piece-writer.ts';

/*
 * Copies of RAM in a memfd: its pages are mapped, and written from the mapping. That takes two thirds of the processor time of reads into
 * a buffer and writes from it. Pages are mapped while those before them are written: the writes to one file exclude each other in the
 * kernel, so more of them at the same time would not be faster.
 *
 * Invariants: no page of a hole is touched, as that would allocate it. The memfd cannot shrink: a read of a page behind its end would end
 * this process.
 */

/** Pages that are mapped together, in `bytes`. */
const WINDOW_BYTES = 8 * 2 ** 20;

/** Windows that are mapped: one is written. */
const WINDOWS = 3;

/** Mean length of the runs from which mapping them is faster than reads, in `bytes`. */
const RUN_MEAN_BYTES = 256 * 1024;

/** A copy of runs of pages that are not all zeros. */
interface MappedCopy {
  readonly from: CopyEnd;
  readonly to: CopyEnd;
  /** runs of data without holes, within the region */
  readonly extents: readonly Extent[];
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/** Copies runs of a memfd. @returns false, and copies nothing, where they cannot be mapped, or reads are faster */
export async function copyMapped(copy: MappedCopy): Promise<boolean> {
  const { from, to, extents, amount, signal } = copy;
  const bytes = sizeOf(extents);
  if (bytes < extents.length * RUN_MEAN_BYTES || !(await isMappable(from.file))) return false;
  // an aborted copy may outlast the handles of the caller
  using source = await duplicate(from.file);
  using target = await duplicate(to.file);
  using writer = await createPieceWriter(target.fd);
  if (writer === undefined) return false;
  amount.total += bytes;
  const runs = extents.map(({ offset, length }) => ({ offset: to.base + offset, length }));
  await using blocks = await blockReservation(target.fd, runs);
  const windows = batchesOf(extents, { bytes: WINDOW_BYTES, runs: 1 }, partOf);
  const state: CopyState = {
    ...{ copy, source: source.fd, blocks, writer },
    ...{ lastWrite: Promise.resolve(), failed: false },
  };
  const next = (): Extent | undefined => {
    signal.throwIfAborted();
    return state.failed ? undefined : windows.next().value?.[0];
  };
  const count = Math.min(WINDOWS, Math.ceil(bytes / WINDOW_BYTES));
  const ends = await Promise.allSettled(Array.from({ length: count }, () => copyWindows(next, state)));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return true;
}

/** A copy while it runs. */
interface CopyState {
  readonly copy: MappedCopy;
  /** descriptor */
  readonly source: number;
  readonly blocks: BlockReservation;
  readonly writer: PieceWriter;
  /** settles when no window is written */
  lastWrite: Promise<void>;
  failed: boolean;
}

/** Blocks for windows that no copy uses: V8 collects all garbage when a few new ones were made. They take no memory. */
const unused: Block[] = [];

function returnBlock(block: Block): void {
  clear(block);
  if (unused.length < WINDOWS) unused.push(block);
  else block.free();
}

async function copyWindows(next: () => Extent | undefined, state: CopyState): Promise<void> {
  const block = unused.pop() ?? allocate(WINDOW_BYTES);
  try {
    for (let window = next(); window !== undefined; window = next()) {
      await copyWindow(window, block, state);
    }
  } catch (error) {
    state.failed = true;
    throw error;
  } finally {
    returnBlock(block);
  }
}

async function copyWindow(window: Extent, block: Block, state: CopyState): Promise<void> {
  const { copy, source, blocks, writer } = state;
  const { from, to, amount, signal } = copy;
  const start = to.base + window.offset;
  blocks.reach(start + window.length);
  const part = { fd: source, offset: from.base + window.offset, length: window.length };
  if (!(await mapOver(block, part))) {
    // a page that cannot be read, or an older kernel
    await copyExtents({ from, to, extents: [window], skipZeros: true, signal });
    amount.done += window.length;
    return;
  }
  const bytes = Buffer.from(block.view.buffer, 0, window.length);
  const runs = nonZeroExtents(bytes);
  for (const { offset, length } of subtract([{ offset: 0, length: window.length }], runs)) {
    blocks.release({ offset: start + offset, length });
  }
  const placed = runs.map(({ offset, length }) => ({ from: offset, length, offset: start + offset }));
  await inTurn(state, async () => {
    signal.throwIfAborted();
    await writer.write(bytes, placed);
    amount.done += window.length;
  });
}

/** Writes a window after the others; does nothing after a failure. */
async function inTurn(state: CopyState, write: () => Promise<void>): Promise<void> {
  const before = state.lastWrite;
  const run = async (): Promise<void> => {
    await before;
    if (!state.failed) await write();
  };
  const fail = (): void => {
    state.failed = true;
  };
  const written = run();
  state.lastWrite = written.catch(fail);
  await written;
}

/** Type of tmpfs and of memfds in it (statfs(2)); that of memfds of huge pages, whose holes cannot be found, is another. */
const TMPFS = 0x0102_1994;

/** fcntl(2) */
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;

async function isMappable({ fd }: FileHandle): Promise<boolean> {
  const { fcntl } = await loadLibc();
  const seals = fcntl(fd, F_GET_SEALS, 'int', 0);
  if (seals < 0 || (seals & F_SEAL_SHRINK) === 0) return false;
  return (await statfs(`/proc/self/fd/${fd}`)).type === TMPFS;
}
