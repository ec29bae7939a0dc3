import assert from 'node:assert/strict';
import { test } from 'node:test';
import { propsOf, stepsOf } from '../common/test-kit.ts';
import { virtioMem } from './index.ts';

const zone = { id: 'z', size: 2 ** 30, hotplug_size: 2 ** 28 };

test('a virtio-mem device has RAM of its own, outside of the zone’s file, reserved for nothing', () => {
  const [ram] = stepsOf(virtioMem, { ...zone, file: '/full', shared: true }, { facts: { node: 1 } });
  assert.ok(ram?.kind === 'object');
  assert.deepEqual(ram.props, {
    'qom-type': 'memory-backend-memfd',
    id: 'x.ram',
    size: 2 ** 28,
    share: true,
    merge: false,
    reserve: false,
  });
});

test('a virtio-mem device is in the zone’s node and starts with what was asked for', () => {
  const propsFor = (json: object) =>
    propsOf(stepsOf(virtioMem, { ...zone, ...json }, { facts: { node: 1 } }), 'virtio-mem-pci');
  const { node, 'requested-size': requested, 'block-size': block } = propsFor({ hotplugged_size: 2 ** 27 });
  assert.deepEqual([node, requested, block], [1, 2 ** 27, 2 ** 21]);
  assert.equal(propsFor({})['requested-size'], 0);
});

test('pages of a virtio-mem device are taken at once where the host could lack them later', () => {
  const isPrefaulted = (json: object) =>
    propsOf(stepsOf(virtioMem, { ...zone, ...json }, { facts: { node: 0 } }), 'virtio-mem-pci')['prealloc'];
  assert.equal(isPrefaulted({}), undefined);
  assert.equal(isPrefaulted({ hugepages: true }), true);
  assert.equal(isPrefaulted({ prefault: true }), true);
});
