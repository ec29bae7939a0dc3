import { statfs } from 'node:fs/promises';
import { loadLibc } from '../../native/libc.ts';
import { batchesOf, partOf, sizeOf } from './extent-sets.ts';
import type { Extent } from './extents.ts';

/** Type of ext2, ext3 and ext4 (statfs(2)). */
const EXT4 = 0xef53;

/** Modes of fallocate(2): the size of the file stays; and the range becomes a hole. */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** Shorter runs are not worth a call, in `bytes`. */
const RUN_MIN_BYTES = 256 * 1024;

/** Shorter holes stay reserved, in `bytes`: a call for each page costs more than its block. */
const HOLE_MIN_BYTES = 64 * 1024;

/** Most blocks of one call, and least that are reserved ahead of the writes, in `bytes`. */
const WINDOW_BYTES = 32 * 2 ** 20;

/** Blocks of a file that are reserved ahead of its writes. To be disposed of before its descriptor is closed. */
export interface BlockReservation extends AsyncDisposable {
  /**
   * Starts to reserve the blocks up to an offset in the file, and some beyond it. Offsets ascend. It is not waited for: a write to
   * blocks that are not reserved yet is slower only. A full disk is reported by the write.
   */
  readonly reach: (offset: number) => void;
  /** Frees blocks of a run that stays a hole. */
  readonly release: (run: Extent) => void;
}

/**
 * Reserves the blocks of runs of a file before they are written, where that makes the writes faster. On ext4 a write to reserved blocks
 * takes 0.8 of the processor time; XFS gains nothing, btrfs and tmpfs lose up to a tenth.
 * @param runs offsets in the file, in ascending order
 */
export async function blockReservation(fd: number, runs: readonly Extent[]): Promise<BlockReservation> {
  const long = runs.filter(({ length }) => length >= RUN_MIN_BYTES);
  if (!(await isFaster(`/proc/self/fd/${fd}`, sizeOf(long)))) {
    return { reach: ignore, release: ignore, [Symbol.asyncDispose]: async () => ignore() };
  }
  const windows = batchesOf(long, { bytes: WINDOW_BYTES, runs: 1 }, partOf);
  let calls = Promise.resolve();
  let works = true;
  let end = 0;
  const reserve = async (run: Extent): Promise<void> => {
    if (works) works = await allocate(fd, FALLOC_FL_KEEP_SIZE, run);
  };
  return {
    reach: (offset) => {
      if (!works) return;
      while (end < offset + WINDOW_BYTES) {
        const run = windows.next().value?.[0];
        if (run === undefined) return;
        end = run.offset + run.length;
        calls = calls.then(() => reserve(run));
      }
    },
    release: (run) => {
      if (!works || run.length < HOLE_MIN_BYTES) return;
      calls = calls.then(
        async () => void (await allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, run)),
      );
    },
    [Symbol.asyncDispose]: async () => await calls,
  };
}

const ignore = (): void => undefined;

/**
 * Returns true on ext4. Returns false where the disk is too full for all blocks: those of holes would be absent for others until they
 * are released.
 */
async function isFaster(path: string, bytes: number): Promise<boolean> {
  if (bytes === 0) return false;
  const { type, bavail, bsize } = await statfs(path);
  return type === EXT4 && bavail * bsize > bytes;
}

/** Returns false where it fails: ext3 lacks the call, and a quota or a filter of system calls refuses it. */
async function allocate(fd: number, mode: number, { offset, length }: Extent): Promise<boolean> {
  const { fallocate } = await loadLibc();
  return new Promise((resolve) => {
    fallocate.async(fd, mode, offset, length, (error, result) => resolve(error === null && result === 0));
  });
}
