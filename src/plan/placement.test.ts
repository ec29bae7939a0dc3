import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../api/errors.ts';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { disk } from '../devices/disk/index.ts';
import type { DiskConfig } from '../devices/disk/config.ts';
import { PINNED_DEVICES } from '../devices/test-kinds.ts';
import { addPlacement, bdfOf, placeDevices, qemuId, removePlacement, withDevices } from './placement.ts';

const KERNEL = { kernel: { path: '/k' }, serial: { mode: 'Null' }, console: { mode: 'Off' } };

function place(more: Readonly<Record<string, unknown>>) {
  const { config } = decodeVmConfig({ ...KERNEL, ...more });
  const { placements } = placeDevices(config);
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

test('a device that is off has neither a slot nor a name; the serial port has a name only', () => {
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
    withDevices(config, placements).disks?.map(({ id }) => id),
    ['mine', '_disk0'],
  );
  assert.deepEqual(
    config.disks?.map(({ id }) => id),
    ['mine', undefined],
  );
});

test('the completed configuration of a device replaces the configured one', () => {
  const { config, placements } = place({ disks: disks(2) });
  const [, second] = config.disks ?? [];
  const completed = withDevices(config, placements, (one) =>
    one.config === second ? { ...second, path: '/found' } : one.config,
  );
  assert.deepEqual(
    completed.disks?.map(({ id, path }) => [id, path]),
    [
      ['_disk0', '/d0'],
      ['_disk1', '/found'],
    ],
  );
});

test('a slot that was freed is the next one used, a number never is', () => {
  const config = { path: '/new' } as DiskConfig;
  let layout = placeDevices(decodeVmConfig({ ...KERNEL, disks: disks(2) }).config);
  layout = removePlacement(layout, '_disk0');
  const first = addPlacement(layout, { device: disk, config, id: undefined });
  assert.deepEqual([first.placement.id, first.placement.slot], ['_disk2', 2]);
  const second = addPlacement(first.layout, { device: disk, config, id: 'mine' });
  assert.deepEqual([second.placement.id, second.placement.slot], ['mine', 5]);
  assert.throws(
    () => addPlacement(second.layout, { device: disk, config, id: '_disk1' }),
    (error: unknown) => error instanceof ApiError && error.code === 'duplicate-id',
  );
  assert.equal(bdfOf(5), '0000:00:05.0');
  assert.equal(bdfOf(31), '0000:00:1f.0');
});

test('a device has its configured slot, and the other devices skip the slot', () => {
  const config = {
    console: { mode: 'Null', pci_device_id: 7 },
    disks: [{ path: '/a' }, { path: '/b', pci_device_id: 2 }],
    rng: { src: '/r', pci_device_id: 4 },
    net: [{}, {}],
  };
  assert.deepEqual(
    place(config).slots.map(({ id, slot }) => [id, slot]),
    [
      ['_console', 7],
      ['_disk0', 3],
      ['_disk1', 2],
      ['_net2', 5],
      ['_net3', 6],
      ['_rng', 4],
    ],
  );
});

test('every kind of device on the bus can have a slot of its own', () => {
  const asks = PINNED_DEVICES.filter(
    ({ struct, takesSlot }) => takesSlot && struct !== undefined && 'pci_device_id' in struct.fields,
  );
  assert.deepEqual(
    asks.map(({ member }) => member),
    ['console', 'disks', 'net', 'rng', 'fs', 'pmem', 'vsock', 'balloon', 'ivshmem', 'devices'],
  );
  const { slots } = place({
    memory: { size: 2 ** 29, shared: true },
    console: { mode: 'Null', pci_device_id: 30 },
    disks: [{ path: '/d', pci_device_id: 29 }],
    net: [{ pci_device_id: 28 }],
    rng: { src: '/r', pci_device_id: 27 },
    fs: [{ tag: 't', socket: '/s', pci_device_id: 26 }],
    pmem: [{ file: '/p', pci_device_id: 25 }],
    vsock: { cid: 3, socket: '/v', pci_device_id: 24 },
    balloon: { size: 0, pci_device_id: 23 },
    ivshmem: { path: '/i', size: 4096, pci_device_id: 22 },
    devices: [{ path: '/h', pci_device_id: 21 }],
  });
  assert.deepEqual(
    slots.map(({ slot }) => slot),
    [30, 29, 28, 27, 26, 25, 24, 23, 22, 21],
  );
});

test('a hot-plugged device has the slot that it asks for, or the error names its owner', () => {
  const layout = placeDevices(decodeVmConfig({ ...KERNEL, disks: disks(1) }).config);
  const asking = (slot: number) => ({
    device: disk,
    config: { path: '/new', pci_device_id: slot } as DiskConfig,
    id: 'mine',
  });
  assert.equal(addPlacement(layout, asking(31)).placement.slot, 31);
  assert.throws(
    () => addPlacement(layout, asking(2)),
    (error: unknown) =>
      error instanceof ApiError &&
      error.code === 'failed' &&
      error.message === 'device mine: Valid PCI device identifier but already used: 2: it is that of _disk0',
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
  ids.push('x'.repeat(40), `${'x'.repeat(40)}y`, 'a "disk",\\1', `d${'0'.repeat(19)}`);
  const mapped = ids.map(qemuId);
  for (const id of mapped) assert.match(id, /^[A-Za-z][A-Za-z0-9._-]{0,19}$/);
  assert.equal(new Set(mapped).size, ids.length, mapped.join(' '));
});

test('with a payload single devices and virtio-mem devices have names of their own', () => {
  const zones = [
    { id: 'low', size: 2 ** 28 },
    { id: 'high', size: 2 ** 28, hotplug_size: 2 ** 28 },
  ];
  const more = {
    console: { mode: 'Null' },
    balloon: { size: 0 },
    disks: disks(1),
    memory: { size: 0, hotplug_method: 'VirtioMem', zones },
  };
  const idsOf = (form: object): string[] => {
    const { config } = decodeVmConfig({ ...form, ...more });
    const layout = placeDevices(config);
    // the next number says whether the virtio-mem device took one
    const next = addPlacement(layout, { device: disk, config: { path: '/x' }, id: undefined }).placement.id;
    return [...layout.placements.map(({ id }) => id), next];
  };
  assert.deepEqual(idsOf({ kernel: { path: '/k' } }), [
    '_serial',
    '_console',
    '_disk0',
    '_rng',
    '_mem1',
    '_balloon',
    '_disk2',
  ]);
  assert.deepEqual(idsOf({ payload: { kernel: '/k' } }), [
    '__serial',
    '__console',
    '_disk0',
    '__rng',
    'high',
    '__balloon',
    '_disk1',
  ]);
});
