import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { memory } from './index.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

test('huge pages: their size is a power of two, and the RAM is a number of them', () => {
  expectProblems(memory, [
    [
      'a size without huge pages',
      { size: GIB, hugepage_size: 2 * MIB },
      ['memory.hugepage_size: Huge page size specified but huge pages not enabled'],
    ],
    [
      'no power of two',
      { size: GIB, hugepages: true, hugepage_size: 3 * MIB },
      [`memory.hugepage_size: Huge page size is not power of 2: ${3 * MIB}`],
    ],
    ['2 MiB', { size: GIB, hugepages: true, hugepage_size: 2 * MIB }, []],
    [
      'RAM that is no number of pages',
      { size: 513 * MIB, hugepages: true, hugepage_size: 2 * MIB },
      [`memory.size: must be a multiple of the huge page size ${2 * MIB}, got ${513 * MIB}`],
    ],
  ]);
});

const zone = { id: 'a', size: MIB };
const zoned = (...zones: readonly object[]) => ({
  size: 0,
  hotplug_method: 'VirtioMem',
  zones: zones.map((one) => ({ ...zone, ...one })),
});

test('RAM is a number of pages, in zones or without them', () => {
  expectProblems(memory, [
    ['no RAM', { size: 0 }, ['memory.size: must not be 0 without memory zones']],
    ['no pages', { size: 4097 }, ['memory.size: must be a multiple of 4096, got 4097']],
    ['zones', zoned({}, { id: 'b' }), []],
    ['both', { size: MIB, zones: [zone] }, ['memory.zones: memory.size must be 0 when zones are given']],
    ['an empty list', { size: MIB, zones: [] }, []],
    ['one id twice', zoned({}, {}), ['memory.zones[1].id: "a" is taken by memory.zones[0]']],
    ['no id', zoned({ id: '' }), ['memory.zones[0].id: must not be empty']],
    ['an empty zone', zoned({ size: 0 }), ['memory.zones[0].size: must not be 0']],
    [
      'a shared file on a node',
      zoned({ shared: true, file: '/f', host_numa_node: 0 }),
      ['memory.zones[0]: shared, file and host_numa_node cannot be combined'],
    ],
  ]);
});

test('RAM to be added: blocks of 128 MiB by virtio-mem, any size by ACPI', () => {
  expectProblems(memory, [
    ['blocks', zoned({ hotplug_size: 128 * MIB, hotplugged_size: 128 * MIB }), []],
    [
      'less than a block of virtio-mem',
      zoned({ hotplug_size: MIB }),
      [`memory.zones[0].hotplug_size: must be a multiple of 128 MiB, got ${MIB}`],
    ],
    ['nothing', { size: MIB, hotplug_size: 0 }, ['memory.hotplug_size: must not be 0']],
    [
      'a zone that grows by ACPI',
      { size: 0, zones: [{ ...zone, hotplug_size: 128 * MIB }] },
      ['memory.zones[0].hotplug_size: needs memory.hotplug_method to be VirtioMem'],
    ],
    [
      'RAM from the start by ACPI',
      { size: MIB, hotplug_size: 128 * MIB, hotplugged_size: MIB },
      ['memory.hotplugged_size: needs memory.hotplug_method to be VirtioMem'],
    ],
    [
      'RAM from the start without hotplug_size, and more than it',
      zoned({ hotplugged_size: MIB }, { id: 'b', hotplug_size: 128 * MIB, hotplugged_size: 129 * MIB }),
      [
        'memory.zones[0].hotplugged_size: needs hotplug_size',
        `memory.zones[1].hotplugged_size: larger than hotplug_size (${129 * MIB}, ${128 * MIB})`,
      ],
    ],
  ]);
});
