import { batchesOf, sizeOf } from '../../../host/memory/extent-sets.ts';
import { privateMappings } from '../../../host/memory/process-memory.ts';
import { loadLibc } from '../../../native/libc.ts';
import { RUNS_MAX, writeProcess } from '../../../native/process-copy.ts';
import type { SpawnedProcess } from '../../../native/spawn-process.ts';
import type { OpenFiles } from '../../../snapshot-files/open-files.ts';
import { readPieces } from '../../../snapshot-files/read-source.ts';
import { partOfPiece, type Piece, type RegionSource } from '../../../snapshot-files/region-source.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';

const log = createLog('restore');

const BATCH = { bytes: 1 << 20, runs: RUNS_MAX };

/** Bytes that are read before the machine exists. */
const PRELOAD_BYTES = 32 << 20;

/** A region that QEMU maps privately from the chain's full snapshot. */
export interface MappedRegion {
  readonly id: string;
  readonly path: string;
  /** offset of the region in the file, in `bytes` */
  readonly offset: number;
}

/** QEMU's process; its status is undefined while it runs. */
type Process = Pick<SpawnedProcess, 'pid' | 'status'>;

/** Newer pages of a chain, of which the first are being read. */
export interface NewerPages {
  /**
   * Begins to write the pages of the mapped regions into a QEMU that has its RAM and starts. Pages that it cannot write remain for
   * `apply`, which rejects with the reason.
   */
  readonly begin: (qemu: Process, mapped: readonly MappedRegion[]) => void;
  /** Waits for what was begun. @returns ids and sizes of the regions whose newer pages must still be written */
  readonly remaining: () => Promise<readonly Pick<RegionSource, 'id' | 'length'>[]>;
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
  preload([...batches.values()].flat(), files);
  const written = new Set<string>();
  let early: Promise<void> = Promise.resolve();
  const write = async (id: string, address: number, pidOf: () => number): Promise<void> => {
    for (const batch of batches.get(id) ?? []) {
      const bytes = await (batch.bytes ?? readBatch(batch, files));
      const runs = batch.pieces.map(({ offset, length }) => ({ address: address + offset, length }));
      // nothing is awaited in between: the process may end, and its ID be that of another
      writeProcess(pidOf(), runs, bytes);
    }
    batches.delete(id);
    written.add(id);
  };
  const writeEarly = async (qemu: Process, mapped: readonly MappedRegion[]): Promise<void> => {
    await loadLibc();
    for (const { id, length } of regions) {
      const address = await findRegion(qemu.pid, { id, length }, { mapped, files });
      if (address !== undefined) await write(id, address, () => runningId(qemu));
    }
  };
  return {
    begin: (qemu, mapped) => {
      if (regions.length === 0) return;
      early = writeEarly(qemu, mapped).catch((error: unknown) => {
        log.debug(`newer pages are written after QEMU's start: ${reasonOf(error)}`);
      });
    },
    remaining: async () => {
      await early;
      return regions.filter(({ id }) => !written.has(id));
    },
    apply: async (id, { pid, address }, signal) => {
      await loadLibc();
      await write(id, address, () => {
        signal.throwIfAborted();
        return pid;
      });
    },
  };
}

/** Begins to read the first batches, one after the other. */
function preload(batches: readonly Batch[], files: OpenFiles): void {
  let space = PRELOAD_BYTES;
  let last: Promise<unknown> = Promise.resolve();
  for (const batch of batches) {
    space -= sizeOf(batch.pieces);
    if (space < 0) break;
    batch.bytes = last.then(() => readBatch(batch, files));
    // reported by `apply`
    last = batch.bytes.catch(() => undefined);
  }
}

function runningId({ pid, status }: Process): number {
  if (status() !== undefined) throw new Error('QEMU has ended');
  return pid;
}

/** Returns the address in QEMU of a region that is one private mapping; undefined if there is none. */
async function findRegion(
  pid: number,
  { id, length }: Pick<RegionSource, 'id' | 'length'>,
  { mapped, files }: { readonly mapped: readonly MappedRegion[]; readonly files: OpenFiles },
): Promise<number | undefined> {
  const region = mapped.find((one) => one.id === id);
  if (region === undefined) return undefined;
  const file = await (await files.open(region.path)).stat();
  const found = (await privateMappings(pid, file)).filter(
    ({ start, end, offset }) => offset === region.offset && end - start >= length,
  );
  return found.length === 1 ? found[0]?.start : undefined;
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
