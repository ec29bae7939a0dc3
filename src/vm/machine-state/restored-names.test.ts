import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceItems } from '../../config/items.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { restoredNames } from './restored-names.ts';

const MEMORY = { size: 2 ** 28, hotplug_method: 'VirtioMem', hotplug_size: 2 ** 28 };

/** Names of rng, a disk and the virtio-mem device that were saved under some names, and the next number. */
function named(form: object, saved: { readonly mem: string; readonly qemuName?: string }): unknown[] {
  const { config } = decodeVmConfig({ ...form, disks: [{ path: '/d', id: '_disk0' }], memory: MEMORY });
  const names = restoredNames(config, 2);
  const items = deviceItems(config);
  const nameOf = (member: string, id: string, qemuName?: string): unknown => {
    const item = items.find(({ device }) => device.member === member);
    assert.ok(item !== undefined);
    return names.nameOf({ kind: '', id, qemuName }, item);
  };
  return [
    nameOf('rng', '_rng'),
    nameOf('disks', '_disk0'),
    nameOf('memory', saved.mem, saved.qemuName),
    names.nextNumber(),
  ];
}

test('a machine keeps its names in its own dialect', () => {
  assert.deepEqual(named({ kernel: { path: '/k' } }, { mem: '_mem1' }), [
    { id: '_rng' },
    { id: '_disk0' },
    { id: '_mem1' },
    2,
  ]);
  assert.deepEqual(named({ payload: { kernel: '/k' } }, { mem: 'mem0' }), [
    { id: '__rng' },
    { id: '_disk0' },
    { id: 'mem0' },
    2,
  ]);
});

test('in the other dialect it has that one’s names, and its RAM keeps its own', () => {
  const payload = { payload: { kernel: '/k' } };
  const kernel = { kernel: { path: '/k' } };
  assert.deepEqual(named(payload, { mem: '_mem1' })[2], { id: 'mem0', qemuName: '_mem1' });
  // and back
  assert.deepEqual(named(kernel, { mem: 'mem0', qemuName: '_mem1' })[2], { id: '_mem1' });
  // a number that it never had
  const [rng, , mem, next] = named(kernel, { mem: 'mem0' });
  assert.deepEqual([rng, mem, next], [{ id: '_rng' }, { id: '_mem2', qemuName: 'mem0' }, 3]);
});
