import { inBackground } from '../../util/background.ts';
import type { ReadProgress } from '../process/progress.ts';

/** Limits for a wait for QEMU. */
export interface ProgressDeadline {
  /** time until QEMU's progress is read for the first time, in milliseconds */
  readonly first: number;
  /** interval of the readings, in milliseconds: without progress in this time QEMU hangs */
  readonly interval: number;
  /** limit for the whole wait, in milliseconds */
  readonly most: number;
}

/** Limit for any wait, in milliseconds: a large machine preallocates its huge pages in less. */
const MOST_MS = 30 * 60_000;

/** Deadline for QEMU's greeting: QEMU opens images and allocates guest memory before it. */
export const START_DEADLINE: ProgressDeadline = { first: 20_000, interval: 10_000, most: MOST_MS };

/** Deadline for the answer to a command. */
export const ANSWER_DEADLINE: ProgressDeadline = { first: 50_000, interval: 10_000, most: MOST_MS };

/** Returns the shortest wait after which QEMU counts as hung, in whole seconds. */
export function shortestSeconds({ first, interval }: ProgressDeadline): number {
  return Math.round((first + interval) / 1000);
}

/**
 * Calls `onStuck` once if QEMU stops making progress, unless the returned function is called before. A large operation is not
 * aborted: it may take up to `most` as long as it makes progress.
 */
export function watchProgress(
  readProgress: ReadProgress,
  { first, interval, most }: ProgressDeadline,
  onStuck: () => void,
): () => void {
  const begun = performance.now();
  let stopped = false;
  let timer: NodeJS.Timeout;
  const again = (ms: number, last: string | undefined): void => {
    timer = setTimeout(() => inBackground('QEMU', check(last)), ms).unref();
  };
  const check = async (last: string | undefined): Promise<void> => {
    const now = await readProgress().catch(() => '');
    if (stopped) return;
    if (now === last || performance.now() - begun >= most) onStuck();
    else again(interval, now);
  };
  again(first, undefined);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
