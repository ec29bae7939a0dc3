import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, labelOf, titleOf } from './format.ts';
import { withRecent } from './recent.ts';
import { figuresBetween, readSample } from './samples.ts';

const usage = (time: number, cpu: number, memory: number) => ({
  time_ms: time,
  vmm: { cpu_ms: 1, resident_bytes: 1 },
  qemu: { cpu_ms: cpu, resident_bytes: memory },
});

test('figures are rates per second between two samples, of all devices together', () => {
  const before = readSample(usage(1000, 100, 5), {
    _disk0: { read_bytes: 100, write_bytes: 0 },
    _net1: { rx_bytes: 10, tx_bytes: 20 },
  });
  const after = readSample(usage(3000, 3100, 7), {
    _disk0: { read_bytes: 300, write_bytes: 10, read_ops: 9 },
    _disk2: { read_bytes: 100, write_bytes: 0 },
    _net1: { rx_bytes: 30, tx_bytes: 20 },
  });
  assert.deepEqual(figuresBetween(before, after), {
    cpuPercent: 150,
    memoryBytes: 7,
    disk: { in: 150, out: 5 },
    net: { in: 10, out: 0 },
  });
});

test('a rate is 0 where counters began again with a boot, and without time between samples', () => {
  const before = readSample(usage(1000, 9000, 5), { d: { read_bytes: 900 } });
  const after = readSample(usage(2000, 10, 5), { d: { read_bytes: 1 } });
  assert.deepEqual(figuresBetween(before, after), {
    cpuPercent: 0,
    memoryBytes: 5,
    disk: { in: 0, out: 0 },
    net: { in: 0, out: 0 },
  });
  assert.equal(figuresBetween(before, { ...before, cpuMs: 9999 }).cpuPercent, 0);
});

test('a VM that is not booted uses nothing', () => {
  const { cpuMs, memoryBytes, diskBytes } = readSample({ time_ms: 5, vmm: {} }, null);
  assert.deepEqual([cpuMs, memoryBytes, diskBytes], [0, 0, { in: 0, out: 0 }]);
});

test('sizes have a unit of which there are less than 1024', () => {
  assert.deepEqual([0, 1, 1023, 1024, 1536, 200 * 1024, 2 ** 30, 2 ** 52].map(formatBytes), [
    ...['0 B', '1 B', '1023 B', '1.0 KiB', '1.5 KiB', '200 KiB', '1.0 GiB', '4096 TiB'],
  ]);
});

test('requests and members have titles and labels in words', () => {
  assert.deepEqual(['vm.power-button', 'vm.nmi', 'vmm.shutdown', 'vm.boot'].map(titleOf), [
    ...['Power button', 'NMI', 'Shutdown VMM', 'Boot'],
  ]);
  assert.equal(labelOf('rate_limiter_config'), 'rate limiter config');
});

test('a list of the most recent items loses its oldest', () => {
  assert.deepEqual(withRecent([1, 2], 3, 3), [1, 2, 3]);
  assert.deepEqual(withRecent([1, 2, 3], 4, 3), [2, 3, 4]);
});
