import { resolve } from 'node:path';
import type { OperationProgress } from '../api/operations.ts';
import { CancelledError } from './errors.ts';

/** Interval of the progress, in milliseconds. */
const INTERVAL_MS = 100;

/** Options of {@link composeSnapshot}. */
export interface ComposeOptions {
  /** Resolve when all files are stored on the disk, so that a power failure cannot damage the result */
  readonly durable?: boolean;
  /** Called with the amount of RAM, and of copies of disks, that is written, when it has changed */
  readonly onProgress?: (progress: OperationProgress) => void;
  /** Cancels the composition: nothing is left in the new directory */
  readonly signal?: AbortSignal;
}

/**
 * Makes a full snapshot of a snapshot and its bases, in a new directory, without a VMM. The result needs none of them, has the copies of
 * disks of the given one, and can be the base of the snapshots whose base that was. The new directory is created if it is missing; it must
 * not hold a snapshot.
 * @throws {CancelledError} if it was cancelled
 * @throws {Error} naming the snapshot, the base or the file that cannot be used; nothing is left in the new directory
 */
export async function composeSnapshot(
  directory: string,
  newDirectory: string,
  { durable = false, onProgress, signal }: ComposeOptions = {},
): Promise<void> {
  signal?.throwIfAborted();
  // it loads the binding of the C library
  const { composeSnapshotFiles } = await import('../snapshot-files/compose.ts');
  const amount = { done: 0, total: 0 };
  let reported = -1;
  const report = (): void => {
    if (amount.done === reported) return;
    reported = amount.done;
    onProgress?.({ phase: 'writing memory', ...amount, unit: 'bytes' });
  };
  const timer = setInterval(report, INTERVAL_MS);
  try {
    await composeSnapshotFiles(resolve(directory), resolve(newDirectory), {
      durable,
      amount,
      ...(signal !== undefined && { signal }),
    });
    report();
  } catch (error) {
    throw signal?.aborted === true ? cancelled(signal) : error;
  } finally {
    clearInterval(timer);
  }
}

function cancelled({ reason }: AbortSignal): CancelledError {
  return new CancelledError('snapshot compose', reason);
}
