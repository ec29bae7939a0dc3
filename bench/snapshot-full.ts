// Full snapshots beside `cp --sparse=always` of the same pages, in pairs.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { assertStatus } from '../tests/support/answers.ts';
import { qemuOf } from '../tests/support/processes.ts';
import type { TestVmm } from '../tests/support/vmm.ts';
import { inMs, median, printRow } from './table.ts';

/** A paused VM, and a folder on the disk that both are written to. */
export interface PausedVm {
  readonly mib: number;
  readonly folder: string;
  readonly vmm: TestVmm;
}

/** Milliseconds of a snapshot and of cp, one after the other. */
export interface Pair {
  readonly snapshot: number;
  readonly cp: number;
}

/** Measures a pair. */
export async function measurePair(vm: PausedVm, copyFirst: boolean): Promise<Pair> {
  if (!copyFirst) return { snapshot: await timeSnapshot(vm), cp: timeCopy(vm) };
  const cp = timeCopy(vm);
  return { snapshot: await timeSnapshot(vm), cp };
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

function timeCopy(vm: PausedVm): number {
  const copy = join(vm.folder, 'copy');
  const memory = memoryOf(qemuOf(vm.vmm.pid));
  prepareCache(vm);
  const start = performance.now();
  execFileSync('cp', ['--sparse=always', memory, copy]);
  const took = performance.now() - start;
  rmSync(copy);
  return took;
}

async function timeSnapshot(vm: PausedVm): Promise<number> {
  const { vmm, folder } = vm;
  const target = join(folder, 'target');
  mkdirSync(target);
  prepareCache(vm);
  const start = performance.now();
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${target}` }), 204);
  const took = performance.now() - start;
  rmSync(target, { recursive: true });
  return took;
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

/** Prints the row of a VM. The ratio is the median of those of the pairs: the load of the host changes between pairs. */
export function reportPairs({ mib }: PausedVm, pairs: readonly Pair[]): void {
  printRow({
    what: `snapshot of ${mib} MiB`,
    ours: inMs(median(pairs.map(({ snapshot }) => snapshot))),
    reference: ['cp', inMs(median(pairs.map(({ cp }) => cp)))],
    ratio: median(pairs.map(({ snapshot, cp }) => snapshot / cp)),
    must: '<= 0.80',
    note: `load ${(loadavg()[0] ?? 0).toFixed(1)}`,
  });
}
