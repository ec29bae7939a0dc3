import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latencyCounters, type LatencyStats } from './latencies.ts';

/** Returns statistics of reads with these latencies in nanoseconds, in bins with four bounds an octave from 1000 on. */
function statistics(times: readonly number[]): LatencyStats {
  const bins = Array.from({ length: 110 }, () => 0);
  const bounds = Array.from({ length: 109 }, (_, i) => Math.round(1000 * 2 ** (i / 4)));
  for (const time of times) {
    const bin = bounds.findIndex((bound) => time < bound);
    const at = bin < 0 ? bounds.length : bin;
    bins[at] = (bins[at] ?? 0) + 1;
  }
  const total = times.reduce((sum, time) => sum + time, 0);
  return {
    rd_operations: times.length,
    rd_total_time_ns: total,
    rd_latency_histogram: { bins },
    wr_operations: 0,
    wr_total_time_ns: 0,
  };
}

function readsOf(times: readonly number[]): [min: number, avg: number, max: number] {
  const {
    read_latency_min: min = -1,
    read_latency_avg: avg = -1,
    read_latency_max: max = -1,
  } = latencyCounters(statistics(times));
  return [min, avg, max];
}

test('the shortest and longest latency are exact to a fifth, the mean is exact, in microseconds', () => {
  const [min, avg, max] = readsOf([20_000, 100_000, 900_000]);
  assert.equal(avg, 340);
  assert.ok(min > 20 / 1.2 && min <= 20, String(min));
  assert.ok(max >= 900 && max < 900 * 1.2, String(max));
});

test('no request, one, very short and very long ones have latencies', () => {
  const [, one, longest] = readsOf([50_000]);
  assert.deepEqual([one, longest], [50, 50]);
  assert.deepEqual(readsOf([]), [0, 0, 0]);
  assert.deepEqual(readsOf([300]), [0, 0, 1]);
  const [least, mean, most] = readsOf([500e9]);
  assert.ok(least > 100e6 && mean === 500e6 && most === 500e6, `${least} ${mean} ${most}`);
  assert.deepEqual(Object.values(latencyCounters(undefined)), [0, 0, 0, 0, 0, 0]);
});

test('without a histogram all latencies are the mean', () => {
  const { rd_latency_histogram: _, ...stats } = statistics([10_000, 30_000]);
  const { read_latency_min, read_latency_avg, read_latency_max } = latencyCounters(stats);
  assert.deepEqual([read_latency_min, read_latency_avg, read_latency_max], [20, 20, 20]);
});
