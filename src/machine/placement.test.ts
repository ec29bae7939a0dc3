import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../api/errors.ts';
import { decodeVmConfig } from '../config/vm-config.ts';
import { placeDevices, qemuId, withIds } from './placement.ts';

const KERNEL = { kernel: { path: '/k' }, serial: { mode: 'Null' }, console: { mode: 'Off' } };

function place(more: Readonly<Record<string, unknown>>) {
  const { config } = decodeVmConfig({ ...KERNEL, ...more });
  const placements = placeDevices(config);
  return { config, placements, slots: placements.filter(({ slot }) => slot !== undefined) };
}

function disks(count: number, ...ids: (string | undefined)[]): Record<string, unknown>[] {
  return Array.from({ length: count }, (_, i) => ({
    path: `/d${i}`,
    ...(ids[i] === undefined ? {} : { id: ids[i] }),
  }));
}

test('slots are given from 2 on, the lowest first, in the order of the device table', () => {
  const { slots } = place({ console: { mode: 'Null' }, disks: disks(2) });
  assert.deepEqual(
    slots.map(({ id, slot }) => [id, slot]),
    [
      ['_console', 2],
      ['_disk0', 3],
      ['_disk1', 4],
      ['_rng', 5],
    ],
  );
});

test('what is off has neither a slot nor a name; the serial port has a name only', () => {
  const off = place({ serial: { mode: 'Off' } }).placements.map(({ id }) => id);
  assert.ok(!off.includes('_serial') && !off.includes('_console'), off.join(' '));
  assert.equal(place({}).placements.find(({ id }) => id === '_serial')?.slot, undefined);
});

test('generated ids share one counter and step over those that are taken', () => {
  const { placements } = place({ disks: disks(4, undefined, '_disk1', 'mine') });
  const ids = placements.filter(({ device }) => device.member === 'disks').map(({ id }) => id);
  assert.deepEqual(ids, ['_disk0', '_disk1', 'mine', '_disk2']);
});

test('vm.info shows the ids that were generated, and the configuration itself stays as it was', () => {
  const { config, placements } = place({ disks: disks(2, 'mine') });
  assert.deepEqual(
    withIds(config, placements).disks?.map(({ id }) => id),
    ['mine', '_disk0'],
  );
  assert.deepEqual(
    config.disks?.map(({ id }) => id),
    ['mine', undefined],
  );
});

test('30 devices fit on the bus, the next is refused by name', () => {
  const { slots } = place({ disks: disks(29) });
  assert.equal(slots.length, 30);
  assert.equal(slots.at(-1)?.slot, 31);
  assert.equal(new Set(slots.map(({ slot }) => slot)).size, 30);
  assert.throws(
    () => place({ disks: disks(30, ...Array.from({ length: 30 }, (_, i) => `d${i}`)) }),
    (error: unknown) =>
      error instanceof ApiError && error.code === 'failed' && /_rng.*PCI slot/.test(error.message),
  );
});

test('ids in QEMU’s alphabet: well-formed, and different for different ids', () => {
  const ids = ['_disk0', 'a', 'A', 'a b', 'a,b', 'a.b', 'a.20.b', 'a=b', 'ä', 'Ω', '🜁', '', '.', '-', '1'];
  const mapped = ids.map(qemuId);
  for (const id of mapped) assert.match(id, /^[A-Za-z][A-Za-z0-9._-]*$/);
  assert.equal(new Set(mapped).size, ids.length, mapped.join(' '));
});
