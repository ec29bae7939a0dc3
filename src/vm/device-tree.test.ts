import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig, dialectOf } from '../config/vm-config.ts';
import { placeDevices } from '../machine/placement.ts';
import { deviceTree } from './device-tree.ts';
import { NOTHING_KNOWN } from './resources.ts';

/** PCI addresses of the nodes, in their order, of a VM with a disk, a network, rng and console. */
function addresses(form: object): unknown[] {
  const { config } = decodeVmConfig({ ...form, disks: [{ path: '/x' }], net: [{}] });
  const { placements } = placeDevices(config);
  const tree = deviceTree(placements, { known: NOTHING_KNOWN, dialect: dialectOf(config) });
  return Object.values(tree).flatMap(({ pci_bdf: bdf }) => (bdf === undefined ? [] : [bdf]));
}

test('the PCI address is an integer for a VM of the contract, and a text for one with a payload', () => {
  assert.deepEqual(addresses({ kernel: { path: '/k' } }), [2 << 3, 3 << 3, 4 << 3, 5 << 3]);
  const current = ['0000:00:02.0', '0000:00:03.0', '0000:00:04.0', '0000:00:05.0'];
  assert.deepEqual(addresses({ payload: { kernel: '/k' } }), current);
  assert.deepEqual(addresses({ payload: { firmware: '/k' } }), current);
});
