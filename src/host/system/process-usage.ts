import { readFile } from 'node:fs/promises';

/** Resource usage of a process. */
export interface ProcessUsage {
  /** resident memory, in `bytes` */
  readonly residentBytes: number;
  /** CPU time of all its threads, in user and kernel mode */
  readonly cpuSeconds: number;
}

/** The kernel counts in ticks of this many a second on every architecture that Linux runs VMs on (USER_HZ). */
const TICKS = 100;

/** Reads the usage of a process (proc(5)); undefined where it has exited. */
export async function processUsage(pid: number): Promise<ProcessUsage | undefined> {
  try {
    const [stat, status] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'latin1'),
      readFile(`/proc/${pid}/status`, 'latin1'),
    ]);
    // the name in brackets may hold anything
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      residentBytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    };
  } catch {
    return undefined;
  }
}
