import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { placeDevices, qemuId } from '../../plan/placement.ts';
import { statsOf, statsToContinue } from './former-stats.ts';

const { config } = decodeVmConfig({ kernel: { path: '/k' }, disks: [{ path: '/a', id: 'a' }] });
const [disk] = placeDevices(config).placements.filter(({ id }) => id === 'a');

function entries(count: number, bins: readonly number[]) {
  const stats = {
    rd_bytes: 512 * count,
    wr_bytes: 1024 * count,
    rd_operations: count,
    wr_operations: 2 * count,
    rd_total_time_ns: 10 * count,
    wr_total_time_ns: 20 * count,
    rd_latency_histogram: { bins: [...bins] },
  };
  return [{ qdev: `/machine/peripheral/${qemuId('a')}/virtio-backend`, stats }];
}

test('statistics of a disk continue in the next QEMU of its machine, and in the one after', () => {
  assert.ok(disk !== undefined);
  const first = statsToContinue(entries(1, [1, 0]), [disk], new Map());
  const second = statsToContinue(entries(10, [0, 10]), [disk], first);
  const all = statsOf(entries(100, [50, 50]), disk, second);
  assert.equal(all?.rd_operations, 111);
  assert.equal(all?.wr_bytes, 111 * 1024);
  assert.equal(all?.wr_total_time_ns, 20 * 111);
  assert.deepEqual(all?.rd_latency_histogram?.bins, [51, 60]);
  // QEMU no longer answers for it
  assert.equal(statsOf([], disk, second)?.rd_operations, 11);
});

test('a disk that is attached later under the same id starts at 0', () => {
  assert.ok(disk !== undefined);
  const former = statsToContinue(entries(1, []), [disk], new Map());
  assert.equal(statsOf(entries(5, []), { ...disk }, former)?.rd_operations, 5);
});
