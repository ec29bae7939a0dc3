import { read, write } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { blockReservation, type BlockReservation } from './block-reservation.ts';
import { subtract } from './extent-sets.ts';
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
  const means = { source: source?.fd ?? -1, target: target.fd, blocks };
  const lane = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (const chunk of chunks) {
      signal?.throwIfAborted();
      await copyChunk(copy, chunk, { ...means, buffer });
      amount.done += chunk.length;
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: LANES }, lane));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

interface Means {
  /** descriptor of the source, where that is a file */
  readonly source: number;
  readonly target: number;
  readonly buffer: Buffer;
  readonly blocks: BlockReservation;
}

async function copyChunk(
  { from, to, skipZeros }: Copy,
  { offset, length }: Extent,
  { source, target, buffer, blocks }: Means,
): Promise<void> {
  const bytes = buffer.subarray(0, length);
  const position = to.base + offset;
  blocks.reach(position + length);
  if ('pid' in from) await readProcessOnThread(from.pid, from.base + offset, bytes);
  else await readAll(source, bytes, from.base + offset);
  const all = [{ offset: 0, length }];
  const runs = skipZeros ? nonZeroExtents(bytes) : all;
  for (const run of runs) {
    await writeAll(target, bytes.subarray(run.offset, run.offset + run.length), position + run.offset);
  }
  for (const hole of subtract(all, runs)) {
    blocks.release({ offset: position + hole.offset, length: hole.length });
  }
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
    await readAll(source.fd, buffer.subarray(0, length), base + offset);
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

async function readAll(fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const count = await transfer(read, fd, { bytes, done, position });
    if (count === 0) throw new Error('memory ended before it was read');
    done += count;
  }
}

async function writeAll(fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await transfer(write, fd, { bytes, done, position });
}

/** `read` or `write` of node:fs. */
type FileCall = (
  fd: number,
  bytes: Buffer,
  offset: number,
  ...rest: [
    length: number,
    position: number,
    done: (error: NodeJS.ErrnoException | null, count: number) => void,
  ]
) => void;

interface Transfer {
  readonly bytes: Buffer;
  readonly done: number;
  readonly position: number;
}

/** Reads or writes the rest of the bytes, by a callback: with calls of a FileHandle, a copy takes a fifth longer. */
function transfer(call: FileCall, fd: number, { bytes, done, position }: Transfer): Promise<number> {
  return new Promise((resolve, reject) => {
    call(fd, bytes, done, bytes.length - done, position + done, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
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

function isZero(bytes: Buffer, at: number): boolean {
  // the first byte of most pages with content is not zero
  if (bytes[at] !== 0) return false;
  const end = Math.min(at + PAGE_BYTES, bytes.length);
  return bytes.compare(ZEROS, 0, end - at, at, end) === 0;
}
