/*
 * Full snapshots beside `cp --sparse=always` of the same pages, in pairs.
 *
 * A snapshot is measured from the request to the answer 204, as a client sees it, with the states of the devices. cp is measured from its
 * start to its exit. Both write to the page cache of the same disk, and neither waits for the disk. The order in a pair alternates, the
 * first pair is not counted, and all others are.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { assertStatus } from '../tests/support/answers.ts';
import { qemuOf } from '../tests/support/processes.ts';
import type { TestVmm } from '../tests/support/vmm.ts';
import { inMs, median, printRow } from './table.ts';
import { processorMs } from './thread-time.ts';

/** A paused VM, and a folder on the disk that both are written to. */
export interface PausedVm {
  readonly mib: number;
  readonly folder: string;
  readonly vmm: TestVmm;
}

/** Time that passed, and time of the processors, in `milliseconds`. */
interface Cost {
  readonly passed: number;
  readonly processors: number;
}

/** Costs of a snapshot and of cp, one after the other. */
export interface Pair {
  readonly snapshot: Cost;
  readonly cp: Cost;
}

/** Least pairs of a ratio: the load of the host changes between and within them. */
const PAIRS_MIN = 9;

/** Measures pairs of VMs, in turn: at least PAIRS_MIN of each, after one that fills caches. */
export async function measurePairs<T extends PausedVm>(
  vms: readonly T[],
  rounds: number,
): Promise<Map<T, Pair[]>> {
  const pairs = new Map(vms.map((vm): [T, Pair[]] => [vm, []]));
  for (let round = 0; round <= Math.max(rounds, PAIRS_MIN); round++) {
    for (const [vm, all] of pairs) {
      const pair = await measurePair(vm, round % 2 === 0);
      if (round > 0) all.push(pair);
    }
  }
  return pairs;
}

async function measurePair(vm: PausedVm, copyFirst: boolean): Promise<Pair> {
  if (!copyFirst) return { snapshot: await costOfSnapshot(vm), cp: costOfCopy(vm) };
  const cp = costOfCopy(vm);
  return { snapshot: await costOfSnapshot(vm), cp };
}

/**
 * Makes the page cache the same for what is measured next: a copy is written to the disk and removed. Its memory is free, and is that of
 * the host: a hypervisor may take back free memory after seconds, and page faults of its own follow. None waits for blocks of the other.
 */
function prepareCache({ vmm, folder }: PausedVm): void {
  const copy = join(folder, 'prepared');
  execFileSync('cp', ['--sparse=always', memoryOf(qemuOf(vmm.pid)), copy]);
  execFileSync('sync');
  rmSync(copy);
}

function costOfCopy(vm: PausedVm): Cost {
  const copy = join(vm.folder, 'copy');
  const memory = memoryOf(qemuOf(vm.vmm.pid));
  prepareCache(vm);
  const before = childrenMs();
  const start = performance.now();
  execFileSync('cp', ['--sparse=always', memory, copy]);
  const passed = performance.now() - start;
  const processors = childrenMs() - before;
  rmSync(copy);
  return { passed, processors };
}

async function costOfSnapshot(vm: PausedVm): Promise<Cost> {
  const { vmm, folder } = vm;
  const target = join(folder, 'target');
  const processes = [vmm.pid, qemuOf(vmm.pid)];
  mkdirSync(target);
  prepareCache(vm);
  const before = processorMs(processes);
  const start = performance.now();
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${target}` }), 204);
  const passed = performance.now() - start;
  const processors = processorMs(processes) - before;
  rmSync(target, { recursive: true });
  return { passed, processors };
}

/** Milliseconds of a tick of the clock in /proc. */
const TICK_MS = 10;

/** Position of `cutime`, the first of two, behind the name in /proc/<pid>/stat (proc(5)). */
const CHILDREN_FIELD = 13;

/** Returns the processor time of all ended children, in whole ticks. */
function childrenMs(): number {
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ') ?? [];
  const ticks = fields.slice(CHILDREN_FIELD, CHILDREN_FIELD + 2).map(Number);
  return ticks.reduce((sum, one) => sum + one, 0) * TICK_MS;
}

/** Returns the path of the file that is a VM's RAM. */
function memoryOf(pid: number): string {
  const folder = `/proc/${pid}/fd`;
  const fd = readdirSync(folder).find((one) => linkOf(join(folder, one)).startsWith('/memfd:memory-backend'));
  return join(folder, fd ?? 'none');
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/**
 * Prints the row of a VM. The ratio is the median of those of the pairs: the load of the host changes between pairs. Processor time, of
 * which cp has whole ticks only, is compared by the sums.
 */
export function reportPairs({ mib }: PausedVm, pairs: readonly Pair[]): void {
  const sum = (of: (pair: Pair) => number): number => pairs.reduce((all, pair) => all + of(pair), 0);
  const processors = sum(({ snapshot }) => snapshot.processors) / sum(({ cp }) => cp.processors);
  const ratios = pairs.map(({ snapshot, cp }) => snapshot.passed / cp.passed);
  const range = `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`;
  const load = (loadavg()[0] ?? 0).toFixed(1);
  printRow({
    what: `snapshot of ${mib} MiB`,
    ours: inMs(median(pairs.map(({ snapshot }) => snapshot.passed))),
    reference: ['cp', inMs(median(pairs.map(({ cp }) => cp.passed)))],
    ratio: median(ratios),
    must: '<= 0.80',
    note: `${pairs.length} pairs, ${range}; processors ${processors.toFixed(2)}; load ${load}`,
  });
}
