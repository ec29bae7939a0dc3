import { batchesOf, sizeOf } from '../../../host/memory/extent-sets.ts';
import { loadLibc } from '../../../native/libc.ts';
import { RUNS_MAX, writeProcess } from '../../../native/process-copy.ts';
import type { OpenFiles } from '../../../snapshot-files/open-files.ts';
import { readPieces } from '../../../snapshot-files/read-source.ts';
import { partOfPiece, type Piece, type RegionSource } from '../../../snapshot-files/region-source.ts';

const BATCH = { bytes: 1 << 20, runs: RUNS_MAX };

/** Bytes that are read before the machine exists. */
const PRELOAD_BYTES = 32 << 20;

/** Newer pages of a chain, of which the first are being read. */
export interface NewerPages {
  /** ids and sizes of the regions that have newer pages */
  readonly regions: readonly Pick<RegionSource, 'id' | 'length'>[];
  /** Writes the pages of a region over the RAM of a machine that has not run, which has the contents of the chain's full snapshot. */
  readonly apply: (
    id: string,
    to: { readonly pid: number; readonly address: number },
    signal: AbortSignal,
  ) => Promise<void>;
}

/** Pages of one write, and their bytes once they are read. */
interface Batch {
  readonly pieces: readonly Piece[];
  bytes: Promise<Buffer> | undefined;
}

/** Begins to read the newer pages of a chain, while QEMU starts. `files` stay open until they are applied. */
export function preloadPages(sources: readonly RegionSource[], files: OpenFiles): NewerPages {
  const regions = sources.filter(({ newer }) => newer.length > 0);
  const batches = new Map(regions.map(({ id, newer }) => [id, batchesIn(newer)]));
  let space = PRELOAD_BYTES;
  let last: Promise<unknown> = Promise.resolve();
  for (const batch of [...batches.values()].flat()) {
    space -= sizeOf(batch.pieces);
    if (space < 0) break;
    batch.bytes = last.then(() => readBatch(batch, files));
    // reported by `apply`
    last = batch.bytes.catch(() => undefined);
  }
  return {
    regions,
    apply: async (id, { pid, address }, signal) => {
      await loadLibc();
      for (const batch of batches.get(id) ?? []) {
        signal.throwIfAborted();
        const bytes = await (batch.bytes ?? readBatch(batch, files));
        batch.bytes = undefined;
        const runs = batch.pieces.map(({ offset, length }) => ({ address: address + offset, length }));
        writeProcess(pid, runs, bytes);
      }
    },
  };
}

/** Returns the pages of a region in the order of their files: a read gets many of them. None overlap, so the order does not matter. */
function batchesIn(newer: readonly Piece[]): Batch[] {
  const paths = [...new Set(newer.map(({ path }) => path))];
  const order = new Map(paths.map((path, i) => [path, i]));
  const sorted = newer.toSorted((a, b) => (order.get(a.path) ?? 0) - (order.get(b.path) ?? 0) || a.at - b.at);
  return Array.from(batchesOf(sorted, BATCH, partOfPiece), (pieces) => ({ pieces, bytes: undefined }));
}

async function readBatch({ pieces }: Batch, files: OpenFiles): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(sizeOf(pieces));
  await readPieces(pieces, { files, into: bytes });
  return bytes;
}
