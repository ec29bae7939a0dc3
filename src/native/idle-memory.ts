import { setTimeout as delay } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { collectGarbage } from '../util/collect-garbage.ts';
import { loadLibc } from './libc.ts';

/** Memory of this process that is returned to the host when it is idle. */
export interface IdleMemory extends Disposable {
  /** Notes that work has left garbage: each step runs once, when its time has passed since the last call. */
  readonly noteWork: () => void;
}

/** A piece of memory that is returned. */
interface Step {
  /** time without further work, in milliseconds */
  readonly afterMs: number;
  /** returns the memory; its failure is ignored */
  readonly release: () => Promise<void>;
}

/**
 * A start must not wait for the first step. The second one makes the next request 5 ms slower, so it does not run between snapshots that
 * follow each other.
 */
const STEPS: readonly Step[] = [
  { afterMs: 2000, release: () => releaseMemory() },
  { afterMs: 10_000, release: () => releaseMemory({ dropCode: true }) },
];

/** Creates the timers, which do not keep the process running. */
export function createIdleMemory(steps = STEPS): IdleMemory {
  let timers: NodeJS.Timeout[] = [];
  const stop = (): void => timers.forEach(clearTimeout);
  return {
    noteWork: () => {
      stop();
      timers = steps.map(({ afterMs, release }) =>
        setTimeout(() => void release().catch(() => undefined), afterMs).unref(),
      );
    },
    [Symbol.dispose]: stop,
  };
}

/** Time for V8 to free the memory of collected buffers in a thread, in milliseconds. */
const SWEEP_MS = 200;

/** Largest heap that is collected, in bytes; that of an idle VMM has about 15 MiB. */
const HEAP_MAX = 32 * 2 ** 20;

interface ReleaseOptions {
  /** also drops compiled code, about 1 MiB */
  readonly dropCode?: boolean;
  /** in `bytes` */
  readonly heapMax?: number;
}

/**
 * Collects garbage, and returns the free memory of the C library to the host. The event loop is blocked for about 15 ms. Nothing is done
 * for a larger heap, which would block it for more than 50 ms: such a VMM is not idle, and V8 collects its garbage by itself.
 */
export async function releaseMemory({
  dropCode = false,
  heapMax = HEAP_MAX,
}: ReleaseOptions = {}): Promise<void> {
  if (getHeapStatistics().used_heap_size > heapMax) return;
  await collectGarbage({ dropCode });
  await delay(SWEEP_MS, undefined, { ref: false });
  const { malloc_trim: trim } = await loadLibc();
  trim?.(0);
}
