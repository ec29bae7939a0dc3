import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { dialectOf } from '../../config/dialect.ts';
import { placeDevices } from '../../plan/placement.ts';
import { deviceTree } from './device-tree.ts';
import { NOTHING_KNOWN } from './resources.ts';

/** PCI addresses of the nodes, in their order, of a VM with a disk, a network, rng and console. */
function addresses(form: object): unknown[] {
  const { config } = decodeVmConfig({ ...form, disks: [{ path: '/x' }], net: [{}] });
  const { placements } = placeDevices(config);
  const tree = deviceTree(placements, { known: NOTHING_KNOWN, dialect: dialectOf(config) });
  return Object.values(tree).flatMap(({ pci_bdf: bdf }) => (bdf === undefined ? [] : [bdf]));
}

test('the PCI address is an integer in a VM of the contract, and a text in one with a payload', () => {
  assert.deepEqual(addresses({ kernel: { path: '/k' } }), [2 << 3, 3 << 3, 4 << 3, 5 << 3]);
  const current = ['0000:00:02.0', '0000:00:03.0', '0000:00:04.0', '0000:00:05.0'];
  assert.deepEqual(addresses({ payload: { kernel: '/k' } }), current);
  assert.deepEqual(addresses({ payload: { firmware: '/k' } }), current);
});

test('resources of a PCI function: ranges by the contract, BARs with a payload', () => {
  const io = { bar: 0, type: 'Io', base: 0xc000, size: 128, prefetchable: false } as const;
  const memory = { bar: 4, type: 'Mmio64', base: 2 ** 38, size: 16_384, prefetchable: true } as const;
  const known = { ...NOTHING_KNOWN, bySlot: new Map([[2, [io, memory]]]) };
  const resources = (form: object, id: string): unknown => {
    const { config } = decodeVmConfig({
      ...form,
      pvpanic: true,
      tpm: { socket: '/t' },
      console: { mode: 'Off' },
    });
    const { placements } = placeDevices(config);
    const tree = deviceTree(placements, { known, dialect: dialectOf(config) });
    assert.ok(
      !Object.keys(tree).some((node) => /tpm|virtio-pci-_+pvpanic/.test(node)),
      Object.keys(tree).join(),
    );
    return tree[`_virtio-pci-${id}`]?.resources;
  };
  assert.deepEqual(resources({ kernel: { path: '/k' } }, '_rng'), [
    { PioAddressRange: { base: 0xc000, size: 128 } },
    { MmioAddressRange: { base: 2 ** 38, size: 16_384 } },
  ]);
  assert.deepEqual(resources({ payload: { kernel: '/k' } }, '__rng'), [
    { PciBar: { index: 0, base: 0xc000, size: 128, type_: 'Io', prefetchable: false } },
    { PciBar: { index: 4, base: 2 ** 38, size: 16_384, type_: 'Mmio64', prefetchable: true } },
  ]);
});
