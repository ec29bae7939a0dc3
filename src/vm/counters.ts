import { qemuId, type Placement } from '../machine/placement.ts';
import type { VmCounters } from '../api/replies.ts';
import type { Qmp } from '../qemu/qmp.ts';
import type { Run } from './run.ts';

/** QEMU's statistics under the original's names. */
const BLOCK_COUNTERS = {
  read_bytes: 'rd_bytes',
  write_bytes: 'wr_bytes',
  read_ops: 'rd_operations',
  write_ops: 'wr_operations',
} as const;

/**
 * What all devices of a machine have moved, under the names of vm.counters; of disks what was last known where QEMU does not
 * answer soon.
 */
export async function countersOf({ diskCounters, preparations }: Run): Promise<VmCounters> {
  return { ...(await diskCounters.read()), ...preparations.counters() };
}

/** Reads the counters of every disk. */
export async function readCounters(qmp: Qmp, placements: readonly Placement[]): Promise<VmCounters> {
  const answer = await qmp.execute('query-blockstats');
  const entries: readonly unknown[] = Array.isArray(answer) ? answer : [];
  const counters: VmCounters = {};
  for (const { device, id } of placements) {
    if (device.member !== 'disks') continue;
    const entry = entries.find((one) => textOf(one, 'qdev').includes(`/${qemuId(id)}/`));
    const stats = memberOf(entry, 'stats');
    counters[id] = Object.fromEntries(
      Object.entries(BLOCK_COUNTERS).map(([name, theirs]) => [name, Number(memberOf(stats, theirs) ?? 0)]),
    );
  }
  return counters;
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined;
}

function textOf(value: unknown, key: string): string {
  const text = memberOf(value, key);
  return typeof text === 'string' ? text : '';
}
