import { inBackground } from '../../util/background.ts';
import type { ReadProgress } from '../process/progress.ts';

/** How long a wait for QEMU may take. */
export interface ProgressDeadline {
  /** before the first look at its progress, in milliseconds */
  readonly first: number;
  /** between two looks, in milliseconds: without progress in this time QEMU hangs */
  readonly look: number;
  /** in all, in milliseconds */
  readonly most: number;
}

/** What large machines take to preallocate huge pages, with room to spare. */
const MOST_MS = 30 * 60_000;

/** For QEMU's greeting, before which it opens images and makes the guest's memory. */
export const START_DEADLINE: ProgressDeadline = { first: 20_000, look: 10_000, most: MOST_MS };

/** For the answer to a command. */
export const ANSWER_DEADLINE: ProgressDeadline = { first: 50_000, look: 10_000, most: MOST_MS };

/** The shortest wait at whose end QEMU counts as hung, in whole seconds. */
export function shortestSeconds({ first, look }: ProgressDeadline): number {
  return Math.round((first + look) / 1000);
}

/**
 * Calls `onStuck` once where QEMU makes no progress any more, until the returned function is called. A large operation is not
 * cut short: as long as it makes progress it may take up to `most`.
 */
export function watchProgress(
  readProgress: ReadProgress,
  { first, look, most }: ProgressDeadline,
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
    else again(look, now);
  };
  again(first, undefined);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
