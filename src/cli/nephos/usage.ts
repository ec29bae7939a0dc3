import { readFile } from 'node:fs/promises';
import { processUsage } from '../../host/system/process-usage.ts';
import type { VmRecord } from '../../run/record.ts';
import type { VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { Client } from '../../sdk/client.ts';

/** Time limit of vm.counters in milliseconds. */
const COUNTERS_MS = 2000;

/** Most processes of a VM: the VMM, QEMU and its helpers. */
const PROCESSES_MAX = 100;

/** One measurement of a VM. */
export interface Measurement {
  /** monotonic time in `milliseconds` */
  readonly at: number;
  /** CPU time of the VMM and its children since their starts */
  readonly cpuSeconds: number;
  /** resident memory of the VMM and its children, in `bytes` */
  readonly memory: number;
  /** counters by device; empty if the VMM does not answer */
  readonly counters: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Use of resources by a VM; sizes in `bytes` since the start, null without such a device, or while its guest does not answer. */
export interface VmUsage {
  readonly name: string;
  /** 100 for one CPU of the host */
  readonly cpuPercent: number;
  readonly memory: number;
  readonly memoryMax: number;
  readonly diskRead: number | null;
  readonly diskWritten: number | null;
  readonly netReceived: number | null;
  readonly netSent: number | null;
}

/** Measures a VM; undefined if its VMM has exited. */
export async function measureVm({ record, paths }: VmEntry): Promise<Measurement | undefined> {
  if (record.vmmPid === undefined) return undefined;
  const pids = await processTree(record.vmmPid);
  const [usages, counters] = await Promise.all([
    Promise.all(pids.map(processUsage)),
    new Client(paths.api, { timeoutMs: COUNTERS_MS }).call('vm.counters').catch(() => ({})),
  ]);
  if (usages[0] === undefined) return undefined;
  return {
    at: performance.now(),
    cpuSeconds: sum(usages.map((one) => one?.cpuSeconds ?? 0)),
    memory: sum(usages.map((one) => one?.residentBytes ?? 0)),
    counters,
  };
}

/** Returns a process and its descendants. */
async function processTree(root: number): Promise<number[]> {
  const pids = [root];
  for (let at = 0; at < pids.length && pids.length < PROCESSES_MAX; at++) {
    const pid = pids[at] ?? 0;
    // children of the main thread: only it starts programs in the VMM and in QEMU
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => '');
    pids.push(...text.split(' ').filter(Boolean).map(Number));
  }
  return pids;
}

/** Returns the use between two measurements. */
export function usageBetween({ name, request }: VmRecord, before: Measurement, after: Measurement): VmUsage {
  const seconds = (after.at - before.at) / 1000;
  const busy = Math.max(0, after.cpuSeconds - before.cpuSeconds);
  return {
    name,
    cpuPercent: seconds > 0 ? Math.round((busy / seconds) * 1000) / 10 : 0,
    memory: after.memory,
    memoryMax: request.memory,
    diskRead: total(after, 'read_bytes'),
    diskWritten: total(after, 'write_bytes'),
    netReceived: total(after, 'rx_bytes'),
    netSent: total(after, 'tx_bytes'),
  };
}

/** Returns the sum of one counter of all devices; null if no device has it. */
function total({ counters }: Measurement, counter: string): number | null {
  const found = Object.values(counters).flatMap((device) => device[counter] ?? []);
  return found.length === 0 ? null : sum(found);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}
