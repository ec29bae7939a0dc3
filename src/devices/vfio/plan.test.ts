import assert from 'node:assert/strict';
import { test } from 'node:test';
import { propsOf, stepsOf } from '../common/test-kit.ts';
import { vfio } from './index.ts';

test('a PCI device of the host is passed by its sysfs folder, with the requested group', () => {
  const facts = { sysfs: '/sys/devices/d' };
  const props = propsOf(stepsOf(vfio, { path: '/link' }, { facts }), 'vfio-pci');
  assert.deepEqual(props, { driver: 'vfio-pci', id: 'x', addr: '5', sysfsdev: '/sys/devices/d' });
  const grouped = stepsOf(vfio, { path: '/link', x_nv_gpudirect_clique: 0 }, { facts });
  assert.equal(propsOf(grouped, 'vfio-pci')['x-nv-gpudirect-clique'], 0);
});
