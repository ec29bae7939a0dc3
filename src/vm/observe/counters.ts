import type { Placement } from '../../plan/placement.ts';
import type { VmCounters } from '../../api/replies.ts';
import type { Dialect } from '../../config/dialect.ts';
import { queryStats, statsOf } from './former-stats.ts';
import { latencyCounters } from './latencies.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';

/** QEMU's statistics under Cloud Hypervisor's names. */
const BLOCK_COUNTERS = {
  read_bytes: 'rd_bytes',
  write_bytes: 'wr_bytes',
  read_ops: 'rd_operations',
  write_ops: 'wr_operations',
} as const;

/** Returns the counters of all devices of a VM; an empty object if it has no machine. */
export async function countersOfVm({ booted }: Vm): Promise<VmCounters> {
  return booted === undefined ? {} : countersOf(booted.machine);
}

/**
 * Returns the counters of all devices of a machine, by the names of vm.counters. If QEMU does not answer soon, those of disks are the
 * last known ones.
 */
async function countersOf({ diskCounters, preparations }: Machine): Promise<VmCounters> {
  return { ...(await diskCounters.read()), ...preparations.counters() };
}

/** Reads the counters of disks: bytes, requests, and latencies if the dialect has them. */
export async function readCounters(
  { qemu, formerStats }: Pick<Machine, 'qemu' | 'formerStats'>,
  placements: readonly Placement[],
  dialect?: Dialect,
): Promise<VmCounters> {
  const entries = await queryStats(qemu.qmp);
  const counters: VmCounters = {};
  for (const placement of placements) {
    const { device, config } = placement;
    // QEMU does not see the requests of a vhost-user disk
    if (device.usesBlockLayer?.(config) !== true) continue;
    const stats = statsOf(entries, placement, formerStats);
    counters[placement.id] = {
      ...Object.fromEntries(
        Object.entries(BLOCK_COUNTERS).map(([name, theirs]) => [name, stats?.[theirs] ?? 0]),
      ),
      ...(dialect?.hasLatencies === true ? latencyCounters(stats) : {}),
    };
  }
  return counters;
}
