import { promisify } from 'node:util';
import { loadLibc } from '../../native/libc.ts';
import { createWriteBatch, type WriteRun } from '../../native/write-batch.ts';
import { writeBytes } from './copy-lane.ts';

/** Bytes of a buffer, and their place in a file. */
export interface BufferRun {
  /** offset in the buffer, in `bytes` */
  readonly from: number;
  readonly length: number;
  /** offset in the file, in `bytes` */
  readonly offset: number;
}

/** Writes runs of buffers to a file, many at a call on a thread of the pool. One `write` at a time. */
export interface PieceWriter extends Disposable {
  /** Rejects with the system's error. The buffer does not change until it has settled. */
  readonly write: (bytes: Buffer, runs: readonly BufferRun[]) => Promise<void>;
}

/**
 * Size of a write, in bytes. ext4 caches each write in one run of free memory. Where a balloon reports free memory to the hypervisor, longer
 * runs are without host memory: a copy takes up to five times as long.
 */
const PIECE_BYTES = 128 * 1024;

const writeAll = promisify(writeBytes);

/** Prepares writes to a file, whose descriptor stays open. @returns undefined where the kernel refuses writes of many runs at a call */
export async function createPieceWriter(fd: number): Promise<PieceWriter | undefined> {
  const batch = await createWriteBatch();
  if (batch === undefined) return undefined;
  const { addressOf } = await loadLibc();
  return {
    write: async (bytes, runs) => {
      const start = addressOf(bytes);
      const pieces = runs.flatMap((run) => piecesOf(run, start));
      for (const { address, length, offset } of await batch.write(fd, pieces)) {
        // this write has the reason
        const rest = bytes.subarray(address - start, address - start + length);
        await writeAll({ fd, bytes: rest, position: offset });
      }
    },
    [Symbol.dispose]: () => batch[Symbol.dispose](),
  };
}

/** Splits a run of a buffer at `start` into writes that are aligned in the file. */
function piecesOf({ from, length, offset }: BufferRun, start: number): WriteRun[] {
  const pieces: WriteRun[] = [];
  for (let done = 0; done < length;) {
    const most = PIECE_BYTES - ((offset + done) % PIECE_BYTES);
    const piece = {
      address: start + from + done,
      length: Math.min(most, length - done),
      offset: offset + done,
    };
    pieces.push(piece);
    done += piece.length;
  }
  return pieces;
}
