import { readFileSync, readdirSync } from 'node:fs';

/** Processor time of each thread of a process, in `milliseconds`, by its id. */
type ThreadTimes = ReadonlyMap<string, number>;

function threadTimes(pid: number): ThreadTimes {
  const folder = `/proc/${pid}/task`;
  const times = readdirSync(folder).map(
    (thread) => [thread, timeOf(`${folder}/${thread}/schedstat`)] as const,
  );
  return new Map(times);
}

/** Returns 0 for a thread that has ended. */
function timeOf(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return 0;
  }
}

/** Returns the result of work, and the processor time that the busiest thread of a process took meanwhile, in `milliseconds`. */
export async function withBusiestThread<T>(
  pid: number,
  work: () => Promise<T>,
): Promise<{ result: T; busiestMs: number }> {
  const before = threadTimes(pid);
  const result = await work();
  const times = [...threadTimes(pid)].map(([thread, ms]) => ms - (before.get(thread) ?? 0));
  return { result, busiestMs: Math.max(0, ...times) };
}

/** Returns the processor time of all threads of some processes, in `milliseconds`. */
export function processorMs(pids: readonly number[]): number {
  return pids.flatMap((pid) => [...threadTimes(pid).values()]).reduce((sum, ms) => sum + ms, 0);
}
