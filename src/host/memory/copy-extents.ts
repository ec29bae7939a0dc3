import { callbackify } from 'node:util';
import type { FileHandle } from 'node:fs/promises';
import { blockReservation, type BlockReservation } from './block-reservation.ts';
import { readBytes, runLane, writeBytes, type Done, type LaneSteps } from './copy-lane.ts';
import { sizeOf, subtract } from './extent-sets.ts';
import type { Extent } from './extents.ts';
import { duplicate } from '../../native/duplicate.ts';
import { readProcessOnThread } from '../../native/process-copy.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** One side of a copy: a file, or a process's memory, and where in it the region begins. */
export interface CopyEnd {
  readonly file: FileHandle;
  readonly base: number;
}

/** Memory of a process from which bytes are copied; faster than by its file in /proc. */
interface ProcessEnd {
  readonly pid: number;
  /** address of the region */
  readonly base: number;
}

/** Progress of a copy, in `bytes`, which is updated while the copy runs. */
export interface Amount {
  done: number;
  /** sum of the copies that have started */
  total: number;
}

interface Copy {
  readonly from: CopyEnd | ProcessEnd;
  readonly to: CopyEnd;
  /** offsets within the region */
  readonly extents: readonly Extent[];
  /** pages of zeros are not written: the target reads as zeros there */
  readonly skipZeros: boolean;
  /** progress that this copy adds to */
  readonly amount?: Amount;
  /** cancels the copy, which then rejects */
  readonly signal?: AbortSignal;
}

/**
 * Size of a read and a write, in bytes: the buffers of all lanes fit the processor's cache. ext4 caches a write in one run of free
 * memory. Where a balloon reports free memory to the hypervisor, longer runs are without host memory: copies take up to five times as
 * long.
 */
const CHUNK_BYTES = 512 * 1024;

/** Number of concurrent copies. There are more than threads in the pool, so that no thread waits for the event loop between calls. */
const LANES = 8;

/**
 * Copies runs of bytes on threads of the pool; rejects where a side ends early. All lanes stop at the first error.
 *
 * A read into a buffer that stays in the processor's cache is cheaper than a write from a mapping of the source, which has a page table
 * entry for each page, and than sendfile(2), which writes 64 KiB at a time.
 */
export async function copyExtents(copy: Copy): Promise<void> {
  const { to, extents, amount = { done: 0, total: 0 }, signal } = copy;
  const chunks = chunksOf(extents);
  for (const { length } of extents) amount.total += length;
  const runs = extents.map(({ offset, length }) => ({ offset: to.base + offset, length }));
  // an aborted copy may outlast the handles of the caller
  using source = 'pid' in copy.from ? undefined : await duplicate(copy.from.file);
  using target = await duplicate(to.file);
  await using blocks = await blockReservation(target.fd, runs);
  const steps = stepsOf(copy, { source: source?.fd ?? -1, target: target.fd, blocks });
  let failed = false;
  const next = (): Extent | undefined => {
    signal?.throwIfAborted();
    return failed ? undefined : chunks.next().value;
  };
  const finish = ({ length }: Extent): void => void (amount.done += length);
  const lane = async (): Promise<void> => {
    try {
      await runLane(Buffer.allocUnsafe(CHUNK_BYTES), { ...steps, next, finish });
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const lanes = Math.min(LANES, Math.ceil(sizeOf(extents) / CHUNK_BYTES));
  const ends = await Promise.allSettled(Array.from({ length: lanes }, lane));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

const readProcess = callbackify(readProcessOnThread);

interface Means {
  /** descriptor of the source, where that is a file */
  readonly source: number;
  readonly target: number;
  readonly blocks: BlockReservation;
}

function stepsOf(
  { from, to, skipZeros }: Copy,
  { source, target, blocks }: Means,
): Pick<LaneSteps, 'read' | 'select' | 'write'> {
  return {
    read: ({ offset, length }, bytes, done) => {
      blocks.reach(to.base + offset + length);
      const position = from.base + offset;
      if ('pid' in from) readProcess(from.pid, position, bytes, done);
      else readBytes({ fd: source, bytes, position }, done);
    },
    select: ({ offset, length }, bytes) => {
      const all = [{ offset: 0, length }];
      if (!skipZeros) return all;
      const runs = nonZeroExtents(bytes);
      for (const hole of subtract(all, runs)) {
        blocks.release({ offset: to.base + offset + hole.offset, length: hole.length });
      }
      return runs;
    },
    write: (offset, bytes, done) => writeBytes({ fd: target, bytes, position: to.base + offset }, done),
  };
}

/** Reads runs of bytes and discards them, so that they are in the page cache. */
export async function touchExtents(
  { file, base }: CopyEnd,
  extents: readonly Extent[],
  { amount, signal }: { readonly amount: Amount; readonly signal: AbortSignal },
): Promise<void> {
  for (const { length } of extents) amount.total += length;
  using source = await duplicate(file);
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (const { offset, length } of chunksOf(extents)) {
    signal.throwIfAborted();
    const bytes = buffer.subarray(0, length);
    await new Promise<void>((resolve, reject) => {
      const done: Done = (error) => (error === null ? resolve() : reject(error));
      readBytes({ fd: source.fd, bytes, position: base + offset }, done);
    });
    amount.done += length;
  }
}

function* chunksOf(extents: readonly Extent[]): Generator<Extent, undefined> {
  for (const { offset, length } of extents) {
    for (let done = 0; done < length; done += CHUNK_BYTES) {
      yield { offset: offset + done, length: Math.min(CHUNK_BYTES, length - done) };
    }
  }
}

const ZEROS = Buffer.alloc(PAGE_BYTES);

/** Returns the runs of whole pages that are not all zeros. */
export function nonZeroExtents(bytes: Buffer): Extent[] {
  const runs: Extent[] = [];
  let start: number | undefined;
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    const zero = isZero(bytes, at);
    if (!zero) start ??= at;
    else if (start !== undefined) {
      runs.push({ offset: start, length: at - start });
      start = undefined;
    }
  }
  if (start !== undefined) runs.push({ offset: start, length: bytes.length - start });
  return runs;
}

/** Distance of the bytes of a page that are looked at before all of them are compared, in `bytes`. */
const PROBE_BYTES = 256;

function isZero(bytes: Buffer, at: number): boolean {
  const end = Math.min(at + PAGE_BYTES, bytes.length);
  // a call to compare all of them takes longer than a look at some
  for (let probe = at; probe < end; probe += PROBE_BYTES) if (bytes[probe] !== 0) return false;
  return bytes.compare(ZEROS, 0, end - at, at, end) === 0;
}
