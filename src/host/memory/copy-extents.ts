import type { FileHandle } from 'node:fs/promises';
import type { Extent } from './extents.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** One side of a copy: a file, or a process's memory, and where in it the region begins. */
export interface CopyEnd {
  readonly file: FileHandle;
  readonly base: number;
}

/** Progress of a copy, in `bytes`, which is updated while the copy runs. */
export interface Amount {
  done: number;
  /** sum of the copies that have started */
  total: number;
}

interface Copy {
  readonly from: CopyEnd;
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

/** Size of a read and a write, in bytes: large enough to be fast, small enough for the processor's cache. */
const CHUNK_BYTES = 1 << 20;

/** Number of concurrent copies: one reads while the other writes. */
const LANES = 2;

/** Copies runs of bytes; rejects where a side ends early. */
export async function copyExtents({
  from,
  to,
  extents,
  skipZeros,
  amount = { done: 0, total: 0 },
  signal,
}: Copy): Promise<void> {
  const chunks = chunksOf(extents);
  for (const { length } of extents) amount.total += length;
  const lane = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let next = chunks.next(); next.done !== true; next = chunks.next()) {
      signal?.throwIfAborted();
      const { offset, length } = next.value;
      const bytes = buffer.subarray(0, length);
      await readAll(from.file, bytes, from.base + offset);
      for (const run of skipZeros ? nonZeroExtents(bytes) : [{ offset: 0, length }]) {
        const part = bytes.subarray(run.offset, run.offset + run.length);
        await writeAll(to.file, part, to.base + offset + run.offset);
      }
      amount.done += length;
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: LANES }, lane));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** Reads runs of bytes and discards them, so that they are in the page cache. */
export async function touchExtents(
  { file, base }: CopyEnd,
  extents: readonly Extent[],
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (const { offset, length } of chunksOf(extents)) {
    signal.throwIfAborted();
    await readAll(file, buffer.subarray(0, length), base + offset);
  }
}

function* chunksOf(extents: readonly Extent[]): Generator<Extent, undefined> {
  for (const { offset, length } of extents) {
    for (let done = 0; done < length; done += CHUNK_BYTES) {
      yield { offset: offset + done, length: Math.min(CHUNK_BYTES, length - done) };
    }
  }
}

async function readAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) throw new Error('memory ended before it was read');
    done += bytesRead;
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
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

function isZero(bytes: Buffer, at: number): boolean {
  // the first byte of most pages with content is not zero
  if (bytes[at] !== 0) return false;
  const end = Math.min(at + PAGE_BYTES, bytes.length);
  return bytes.compare(ZEROS, 0, end - at, at, end) === 0;
}
