import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import type { NumaOption } from '../devices/common/machine-plan.ts';
import { layOutMemory, nodeOfZone } from './memory-layout.ts';
import { planMemory, ramRegions, virtioMems } from './memory-steps.ts';
import { placeDevices } from './placement.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

function configOf(memory: object, more: object = {}) {
  return decodeVmConfig({ kernel: { path: '/k' }, memory, ...more }).config;
}

function regionsOf(memory: object, more: object = {}) {
  return layOutMemory(configOf(memory, more)).regions.map(({ id, size, zones }) => [id, size, zones.join()]);
}

function nodesOf(numa: readonly NumaOption[]) {
  return numa.flatMap((one) => (one.kind === 'node' ? [[one.node, one.cpus, one.memory]] : []));
}

function matrixOf(numa: readonly NumaOption[]): number[][] {
  const rows: number[][] = [];
  for (const one of numa) if (one.kind === 'distance') (rows[one.from] ??= [])[one.to] = one.distance;
  return rows;
}

test('RAM without zones is one object and no NUMA node', () => {
  const { regions, numa } = layOutMemory(configOf({ size: GIB }));
  assert.deepEqual(numa, []);
  assert.deepEqual(
    regions.map(({ id, size, zones }) => ({ id, size, zones })),
    [{ id: 'ram', size: GIB, zones: ['mem0'] }],
  );
});

test('zones that are backed alike are one object, and the guest sees no nodes', () => {
  const zones = [
    { id: 'a', size: 256 * MIB },
    { id: 'b', size: 128 * MIB, hotplug_size: 128 * MIB },
  ];
  const config = configOf({ size: 0, hotplug_method: 'VirtioMem', zones });
  const { regions, numa } = layOutMemory(config);
  assert.deepEqual(numa, []);
  assert.deepEqual(
    regions.map(({ size, zones: ids }) => [size, ids]),
    [[384 * MIB, ['a', 'b']]],
  );
});

test('zones that are backed differently have an object each, and a node next to the first', () => {
  const zones = [
    { id: 'a', size: 256 * MIB },
    { id: 'b', size: 128 * MIB, file: '/dev/shm' },
    { id: 'c', size: 64 * MIB },
    { id: 'd', size: 32 * MIB, file: '/dev/shm' },
  ];
  const { regions, numa } = layOutMemory(
    configOf({ size: 0, zones }, { cpus: { boot_vcpus: 2, max_vcpus: 3 } }),
  );
  assert.deepEqual(
    regions.map(({ id, size, zones: ids }) => [id, size, ids.join()]),
    [
      ['ram0', 320 * MIB, 'a,c'],
      ['ram1', 128 * MIB, 'b'],
      ['ram2', 32 * MIB, 'd'],
    ],
  );
  assert.deepEqual(nodesOf(numa), [
    [0, [[0, 2]], 'ram0'],
    [1, [], 'ram1'],
    [2, [], 'ram2'],
  ]);
  assert.deepEqual(matrixOf(numa), [
    [10, 11, 11],
    [11, 10, 11],
    [11, 11, 10],
  ]);
});

for (const [what, difference] of [
  ['shared', { shared: true }],
  ['mergeable', { mergeable: true }],
  ['huge pages', { hugepages: true }],
  ['the host’s node', { host_numa_node: 0 }],
] as const) {
  test(`zones that differ in ${what} are not one object`, () => {
    const zones = [
      { id: 'a', size: 64 * MIB },
      { id: 'b', size: 64 * MIB, ...difference },
    ];
    assert.equal(regionsOf({ size: 0, zones }).length, 2);
  });
}

test('memory.mergeable holds for all zones', () => {
  const zones = [
    { id: 'a', size: 64 * MIB },
    { id: 'b', size: 64 * MIB, mergeable: true },
  ];
  const { regions } = layOutMemory(configOf({ size: 0, mergeable: true, zones }));
  assert.deepEqual(
    regions.map(({ backing }) => backing.mergeable),
    [true],
  );
});

test('nodes are in the order of their ids; unlisted vCPUs are in the first node', () => {
  const zones = [
    { id: 'a', size: 64 * MIB },
    { id: 'b', size: 64 * MIB, file: '/f' },
    { id: 'c', size: 64 * MIB, file: '/g' },
  ];
  const numa = [
    {
      guest_numa_id: 7,
      cpus: [1, 5, 4],
      memory_zones: ['b', 'c'],
      distances: [{ destination: 2, distance: 30 }],
    },
    { guest_numa_id: 2, cpus: [0], distances: [{ destination: 7, distance: 15 }] },
  ];
  const config = configOf({ size: 0, zones }, { numa, cpus: { boot_vcpus: 2, max_vcpus: 6 } });
  const layout = layOutMemory(config);
  assert.deepEqual(nodesOf(layout.numa), [
    [
      0,
      [
        [0, 0],
        [2, 3],
      ],
      'ram0',
    ],
    [
      1,
      [
        [1, 1],
        [4, 5],
      ],
      'ram1',
    ],
    // the node’s second zone cannot be in the first one’s object
    [2, [], 'ram2'],
  ]);
  assert.deepEqual(matrixOf(layout.numa), [
    [10, 15, 15],
    [30, 10, 11],
    [30, 11, 10],
  ]);
  assert.equal(nodeOfZone(config, 'c'), 1);
  assert.equal(nodeOfZone(config, 'a'), 0);
});

test('a node without RAM has none', () => {
  const numa = [{ guest_numa_id: 0 }, { guest_numa_id: 1, cpus: [0] }];
  const { numa: options } = layOutMemory(configOf({ size: GIB }, { numa }));
  assert.deepEqual(nodesOf(options), [
    [0, [], 'ram'],
    [1, [[0, 0]], undefined],
  ]);
});

test('addresses are reserved for pmem always, for DIMMs with their slots, for virtio-mem', () => {
  const later = 64 * GIB;
  assert.deepEqual(planMemory(configOf({ size: GIB }), 0), { size: GIB, slots: 0, max: GIB + later });
  assert.deepEqual(planMemory(configOf({ size: GIB, hotplug_size: 100 * MIB }), 0), {
    size: GIB,
    slots: 8,
    max: GIB + 128 * MIB + later,
  });
  const growing = { size: GIB, hotplug_method: 'VirtioMem', hotplug_size: 256 * MIB };
  assert.deepEqual(planMemory(configOf(growing), 0), { size: GIB, slots: 0, max: GIB + 256 * MIB + later });
  const narrow = (bits: number) => ({ cpus: { boot_vcpus: 1, max_vcpus: 1, max_phys_bits: bits } });
  assert.equal(planMemory(configOf({ size: GIB }, narrow(36)), 0).max, 5 * GIB);
  assert.equal(planMemory(configOf({ size: GIB }, narrow(32)), 0).max, GIB);
});

test('virtio-mem devices: one for each zone that can grow, with ids of the common counter', () => {
  const zones = [
    { id: 'a', size: 64 * MIB, hotplug_size: 128 * MIB },
    { id: 'b', size: 64 * MIB },
    { id: 'c', size: 64 * MIB, file: '/f', hotplug_size: 256 * MIB },
  ];
  const more = { disks: [{ path: '/d' }], console: { mode: 'Off' } };
  const config = configOf({ size: 0, hotplug_method: 'VirtioMem', zones }, more);
  const { placements } = placeDevices(config);
  assert.deepEqual(
    virtioMems(placements).map(({ id, zone }) => [id, zone.id]),
    [
      ['_mem1', 'a'],
      ['_mem2', 'c'],
    ],
  );
  const regions = ramRegions(config, placements);
  assert.deepEqual(
    regions.map(({ id, size, backing }) => [id, size, backing.file]),
    [
      ['ram0', 128 * MIB, undefined],
      ['ram1', 64 * MIB, '/f'],
      ['n_mem1.ram', 128 * MIB, undefined],
      ['n_mem2.ram', 256 * MIB, undefined],
    ],
  );
});

test('RAM without zones grows as the zone mem0', () => {
  const config = configOf({ size: GIB, hotplug_method: 'VirtioMem', hotplug_size: GIB });
  assert.deepEqual(
    virtioMems(placeDevices(config).placements).map(({ id, zone }) => [id, zone.id]),
    [['_mem0', 'mem0']],
  );
});
