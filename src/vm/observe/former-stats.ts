import { qemuIdOf, type Placement } from '../../plan/placement.ts';
import type { BlockStats } from '../../qemu/qmp/commands/block.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';

/** Statistics of disks in the QEMUs that a machine had before; a disk that is attached later has none, also with the same id. */
export type FormerStats = ReadonlyMap<Placement, BlockStats>;

type Entries = Awaited<ReturnType<typeof queryStats>>;

/** Reads QEMU's statistics of all disks. */
export function queryStats(qmp: Pick<Qmp, 'execute'>) {
  return qmp.execute('query-blockstats');
}

/** Returns the statistics of a disk since the start of its machine; undefined if QEMU has none. */
export function statsOf(
  entries: Entries,
  placement: Placement,
  former: FormerStats = new Map(),
): BlockStats | undefined {
  const now = entries.find(({ qdev }) => qdev?.includes(`/${qemuIdOf(placement)}/`))?.stats;
  const before = former.get(placement);
  return now === undefined || before === undefined ? (now ?? before) : sumOf(before, now);
}

/** Returns the statistics of all disks for the QEMU that continues. */
export function statsToContinue(
  entries: Entries,
  placements: readonly Placement[],
  former: FormerStats,
): FormerStats {
  return new Map(
    placements.flatMap((placement) => {
      const stats = statsOf(entries, placement, former);
      return stats === undefined ? [] : [[placement, stats]];
    }),
  );
}

function sumOf(before: BlockStats, now: BlockStats): BlockStats {
  return {
    rd_bytes: before.rd_bytes + now.rd_bytes,
    wr_bytes: before.wr_bytes + now.wr_bytes,
    rd_operations: before.rd_operations + now.rd_operations,
    wr_operations: before.wr_operations + now.wr_operations,
    rd_total_time_ns: before.rd_total_time_ns + now.rd_total_time_ns,
    wr_total_time_ns: before.wr_total_time_ns + now.wr_total_time_ns,
    rd_latency_histogram: sumOfHistograms(before.rd_latency_histogram, now.rd_latency_histogram),
    wr_latency_histogram: sumOfHistograms(before.wr_latency_histogram, now.wr_latency_histogram),
  };
}

type Histogram = BlockStats['rd_latency_histogram'];

/** Returns the sum of two histograms, whose bounds are the same. */
function sumOfHistograms(before: Histogram, now: Histogram): Histogram {
  if (before === undefined || now === undefined) return now ?? before;
  return { bins: now.bins.map((count, i) => count + (before.bins[i] ?? 0)) };
}
