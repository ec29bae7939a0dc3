import { qemuIdOf, type Placement } from '../../plan/placement.ts';
import type { BlockStats } from '../../qemu/qmp/commands/block.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';

/*
 * Latencies of disk requests. QEMU sums them up and, on request, counts them in a histogram. The distance of its bounds limits the
 * error of the shortest and the longest latency to a fifth.
 */

const log = createLog('disk');

const NANOSECONDS = 1000;

/** Bounds of the histogram in `nanoseconds`: four an octave, from 1 microsecond to two minutes. */
const BOUNDS: readonly number[] = Array.from({ length: 27 * 4 + 1 }, (_, i) =>
  Math.round(NANOSECONDS * 2 ** (i / 4)),
);

/** Starts QEMU's histograms of a disk; it does not see the requests of a vhost-user disk. */
export async function countLatencies(qmp: Pick<Qmp, 'execute'>, placement: Placement): Promise<void> {
  const { device, config, id } = placement;
  if (device.usesBlockLayer?.(config) !== true) return;
  const path = `/machine/peripheral/${qemuIdOf(placement)}/virtio-backend`;
  const bounds = { 'boundaries-read': BOUNDS, 'boundaries-write': BOUNDS };
  // the disk works without histograms
  await qmp.execute('block-latency-histogram-set', { id: path, ...bounds }).catch((error: unknown) => {
    log.warn(`disk ${id}: its latencies are not counted: ${reasonOf(error)}`);
  });
}

/** Shortest, longest and mean time of requests, in `microseconds`; 0 if there were none. */
interface Latency {
  readonly min: number;
  readonly max: number;
  readonly avg: number;
}

/** The members of QEMU's statistics that latencies are computed from. */
export type LatencyStats = Pick<
  BlockStats,
  `${'rd' | 'wr'}_${'operations' | 'total_time_ns' | 'latency_histogram'}`
>;

/** Returns the latencies in QEMU's statistics of a disk, under the names of vm.counters; 0 each without statistics. */
export function latencyCounters(stats: LatencyStats | undefined): Record<string, number> {
  const [read, write] = [latencyOf(stats, 'rd'), latencyOf(stats, 'wr')];
  return {
    read_latency_min: read.min,
    read_latency_max: read.max,
    read_latency_avg: read.avg,
    write_latency_min: write.min,
    write_latency_max: write.max,
    write_latency_avg: write.avg,
  };
}

function latencyOf(stats: LatencyStats | undefined, kind: 'rd' | 'wr'): Latency {
  const count = stats?.[`${kind}_operations`] ?? 0;
  const total = stats?.[`${kind}_total_time_ns`] ?? 0;
  if (count === 0) return { min: 0, max: 0, avg: 0 };
  const mean = total / count;
  const { least, most } = extremesOf(stats?.[`${kind}_latency_histogram`]?.bins ?? []) ?? {
    least: mean,
    most: mean,
  };
  return {
    min: Math.floor(Math.min(least, mean) / NANOSECONDS),
    // no request takes longer than the sum of all requests
    max: Math.ceil(Math.max(Math.min(most, total), mean) / NANOSECONDS),
    avg: Math.round(mean / NANOSECONDS),
  };
}

/** Returns bounds of the shortest and of the longest time, in `nanoseconds`. */
function extremesOf(bins: readonly number[]): { readonly least: number; readonly most: number } | undefined {
  const isUsed = (count: number): boolean => count > 0;
  const [first, last] = [bins.findIndex(isUsed), bins.findLastIndex(isUsed)];
  if (first < 0) return undefined;
  return { least: BOUNDS[first - 1] ?? 0, most: BOUNDS[last] ?? Infinity };
}
