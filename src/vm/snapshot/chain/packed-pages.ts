import type { FileHandle } from 'node:fs/promises';
import type { Amount } from '../../../host/memory/copy-extents.ts';
import { batchesOf, sizeOf } from '../../../host/memory/extent-sets.ts';
import { readProcess, RUNS_MAX } from '../../../native/process-copy.ts';
import { readablePages, type FoundPages } from './changed-pages.ts';
import {
  packedPieces,
  partOfPiece,
  piecesWithin,
  type Piece,
} from '../../../snapshot-files/region-source.ts';

/** Bytes of a write. */
const BATCH = { bytes: 4 << 20, runs: RUNS_MAX };

/** The memory of a paused machine from which pages are written. */
export interface PagesOf {
  readonly pid: number;
  /** address of the region in QEMU's address space */
  readonly address: number;
  readonly found: FoundPages;
}

/** Destination of pages. */
export interface PackedTarget {
  readonly file: FileHandle;
  /** offset of the first page in the file, in `bytes` */
  readonly start: number;
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/** Writes pages into a new file, one after another. Pages of zeros that need no read become holes. @returns their size, in `bytes` */
export async function writePacked(
  { pid, address, found }: PagesOf,
  { file, start, amount, signal }: PackedTarget,
): Promise<number> {
  const size = sizeOf(found.pages);
  const parts = piecesWithin(packedPieces('', start, found.pages), readablePages(found));
  amount.total += sizeOf(parts);
  const buffer = Buffer.allocUnsafe(BATCH.bytes);
  for (const batch of batchesOf(parts, BATCH, partOfPiece)) {
    signal.throwIfAborted();
    const bytes = buffer.subarray(0, sizeOf(batch));
    readProcess(
      pid,
      batch.map(({ offset, length }) => ({ address: address + offset, length })),
      bytes,
    );
    await writeBatch(file, batch, bytes);
    amount.done += bytes.length;
  }
  return size;
}

/** Writes the bytes of pieces to their places: those that follow each other by one call. */
async function writeBatch(file: FileHandle, batch: readonly Piece[], bytes: Buffer): Promise<void> {
  let done = 0;
  for (let i = 0; i < batch.length;) {
    const first = batch[i];
    if (first === undefined) return;
    let length = 0;
    for (; i < batch.length && batch[i]?.at === first.at + length; i++) length += batch[i]?.length ?? 0;
    await writeAll(file, bytes.subarray(done, done + length), first.at);
    done += length;
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
