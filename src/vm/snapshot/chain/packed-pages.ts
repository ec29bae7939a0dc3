import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Amount } from '../../../host/memory/copy-extents.ts';
import { writeBytes } from '../../../host/memory/copy-lane.ts';
import { batchesOf, sizeOf } from '../../../host/memory/extent-sets.ts';
import { createPieceWriter, type BufferRun } from '../../../host/memory/piece-writer.ts';
import { duplicate } from '../../../native/duplicate.ts';
import { readProcess, RUNS_MAX } from '../../../native/process-copy.ts';
import { readablePages, type FoundPages } from './changed-pages.ts';
import {
  packedPieces,
  partOfPiece,
  piecesWithin,
  type Piece,
} from '../../../snapshot-files/region-source.ts';

/** Bytes that are read at a time, and written while the next ones are read. */
const BATCH = { bytes: 2 << 20, runs: RUNS_MAX };

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
  // an aborted save may outlast the handle of the caller
  using target = await duplicate(file);
  using writer = await createPieceWriter(target.fd);
  const write = async (batch: readonly Piece[], bytes: Buffer): Promise<void> => {
    const runs = runsOfBatch(batch);
    if (writer !== undefined) await writer.write(bytes, runs);
    else
      for (const { from, length, offset } of runs) {
        await writeAll({ fd: target.fd, bytes: bytes.subarray(from, from + length), position: offset });
      }
    amount.done += bytes.length;
  };
  let writing = Promise.resolve();
  // each is read into while the other is written
  let [buffer, other] = [Buffer.allocUnsafeSlow(BATCH.bytes), Buffer.allocUnsafeSlow(BATCH.bytes)];
  try {
    for (const batch of batchesOf(parts, BATCH, partOfPiece)) {
      signal.throwIfAborted();
      const bytes = buffer.subarray(0, sizeOf(batch));
      readProcess(
        pid,
        batch.map(({ offset, length }) => ({ address: address + offset, length })),
        bytes,
      );
      await writing;
      writing = write(batch, bytes);
      [buffer, other] = [other, buffer];
    }
  } finally {
    await writing;
  }
  return size;
}

const writeAll = promisify(writeBytes);

/** Returns the places of the bytes of pieces, which are one after another in a buffer: those that follow each other as one run. */
function runsOfBatch(batch: readonly Piece[]): BufferRun[] {
  const runs: BufferRun[] = [];
  let from = 0;
  for (const { at, length } of batch) {
    const last = runs.at(-1);
    if (last === undefined || last.offset + last.length !== at) runs.push({ from, length, offset: at });
    else runs[runs.length - 1] = { ...last, length: last.length + length };
    from += length;
  }
  return runs;
}
