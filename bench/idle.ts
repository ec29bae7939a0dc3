import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Returns the CPU time of an idle process during ten seconds, in percent of a core. */
export async function idleShare(pid: number): Promise<number> {
  const seconds = 10;
  // work that came before is complete by then
  await delay(3000);
  const before = cpuSeconds(pid);
  await delay(seconds * 1000);
  return (100 * (cpuSeconds(pid) - before)) / seconds;
}

/** Returns the CPU time of a process since its start, all threads together, in seconds. */
function cpuSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  // ns on a CPU, ns waiting for one, time slices
  const used = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]),
  );
  return used.reduce((sum, one) => sum + one, 0) / 1e9;
}
