import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../schema/decode.ts';
import { checkVmConfig } from './checks.ts';
import { VmConfig, type VmConfigInput } from './vm-config.ts';

type Parts = Partial<VmConfigInput>;

/** The rules alone: what is not supported yet has rules as well. */
const check = (parts: Parts): string[] =>
  checkVmConfig(decode(VmConfig, { kernel: { path: '/k' }, ...parts })).map((problem) => problem.text);

const cpus = (boot: number, max = boot) => ({ boot_vcpus: boot, max_vcpus: max });
const SHARED = { size: 2 ** 30, shared: true };
const MIB = 2 ** 20;
const topology = (threads: number, cores: number, dies: number, packages: number) => ({
  threads_per_core: threads,
  cores_per_die: cores,
  dies_per_package: dies,
  packages,
});
const badQueueSize = (size: number) =>
  `disks[0].queue_size: must be a power of two from 4 to 1024, got ${size}`;
const checkCmdline = (args: string): string[] => check({ cmdline: { args } });
const diskCalled = (id: string) => ({ path: '/a', id });

/** A configuration, and the problems that it must have. */
function expectProblems(cases: readonly [string, Parts, readonly string[]][]): void {
  for (const [name, parts, problems] of cases) assert.deepEqual(check(parts), problems, name);
}

test('2, 3: consoles', () => {
  const missing = 'Path missing when using file console mode';
  expectProblems([
    [
      'two terminals',
      { serial: { mode: 'Tty' } },
      ['console.mode: Console mode tty specified for both serial and console'],
    ],
    ['one terminal', { serial: { mode: 'Tty' }, console: { mode: 'Off' } }, []],
    ['two PTYs', { serial: { mode: 'Pty' }, console: { mode: 'Pty' } }, []],
    [
      'no files',
      { serial: { mode: 'File' }, console: { mode: 'File', file: '' } },
      [`console.file: ${missing}`, `serial.file: ${missing}`],
    ],
    ['a file', { serial: { mode: 'File', file: '/f' } }, []],
  ]);
});

test('4, 16, 17: vCPUs', () => {
  expectProblems([
    [
      'fewer at most than at boot',
      { cpus: cpus(2, 1) },
      ['cpus.max_vcpus: Max CPUs greater than boot CPUs (boot_vcpus 2, max_vcpus 1)'],
    ],
    ['a topology', { cpus: { ...cpus(2, 8), topology: topology(2, 2, 1, 2) } }, []],
    [
      'a part that is zero',
      { cpus: { ...cpus(1), topology: topology(0, 1, 1, 1) } },
      ['cpus.topology: No part of the CPU topology can be zero'],
    ],
    [
      'a product that is not the maximum',
      { cpus: { ...cpus(4), topology: topology(1, 2, 1, 1) } },
      ['cpus.topology: Product of CPU topology parts does not match maximum vCPUs (2, max_vcpus 4)'],
    ],
    [
      'a product that is the maximum in 8 bits only',
      { cpus: { ...cpus(2), topology: topology(2, 129, 1, 1) } },
      ['cpus.topology: Product of CPU topology parts does not match maximum vCPUs (258, max_vcpus 2)'],
    ],
  ]);
});

test('5, 6, 7, 8: disks', () => {
  const user = { vhost_user: true, vhost_socket: '/s' };
  expectProblems([
    ['an image', { disks: [{ path: '/a' }] }, []],
    ['a back-end', { memory: SHARED, disks: [user] }, []],
    [
      'both',
      { memory: SHARED, disks: [{ path: '/a' }, { path: '/a', ...user }] },
      ['disks[1]: Disk path and vhost socket both provided'],
    ],
    [
      'a back-end, RAM not shared',
      { disks: [user] },
      ['disks[0]: Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)'],
    ],
    [
      'a back-end, nowhere',
      { memory: SHARED, disks: [{ vhost_user: true }] },
      ['disks[0]: No socket provided when using vhost-user'],
    ],
    [
      'more queues than vCPUs',
      { cpus: cpus(2, 4), disks: [{ path: '/a', num_queues: 3 }] },
      ['disks[0]: Number of vCPUs is insufficient for number of queues'],
    ],
    ['as many queues as vCPUs', { cpus: cpus(2), disks: [{ path: '/a', num_queues: 2 }] }, []],
    ['neither', { disks: [{}, { path: '' }] }, [0, 1].map((i) => `disks[${i}].path: a disk needs a path`)],
    ['no queue', { disks: [{ path: '/a', num_queues: 0 }] }, ['disks[0].num_queues: must not be 0']],
  ]);
});

test('queue sizes are powers of two that the engine can make', () => {
  for (const size of [0, 1, 2, 3, 100, 2048, 65_535]) {
    assert.deepEqual(check({ disks: [{ path: '/a', queue_size: size }] }), [badQueueSize(size)]);
  }
  for (const size of [4, 128, 1024])
    assert.deepEqual(check({ disks: [{ path: '/a', queue_size: size }] }), []);
  for (const size of [256, 512, 1024]) assert.deepEqual(check({ net: [{ queue_size: size }] }), []);
  for (const size of [0, 128, 300, 2048, 32_768]) {
    assert.deepEqual(check({ net: [{ queue_size: size }] }), [
      `net[0].queue_size: must be 256, 512 or 1024, got ${size}`,
    ]);
  }
});

test('9, 10, 11, 12, 13: networks', () => {
  expectProblems([
    ['defaults', { net: [{}] }, []],
    [
      'a back-end, RAM not shared',
      { net: [{ vhost_user: true, vhost_socket: '/s' }] },
      ['net[0]: Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)'],
    ],
    ['one queue', { net: [{ num_queues: 1 }] }, ['net[0]: Number of queues to virtio_net less than 2']],
    [
      'descriptors for other queues',
      { cpus: cpus(2), net: [{ fd: [3, 7] }] },
      ['net[0]: Number of queues to virtio_net does not match the number of input FDs'],
    ],
    ['descriptors', { cpus: cpus(2), net: [{ fd: [3, 7], num_queues: 4 }] }, []],
    ['a standard stream', { net: [{ fd: [2] }] }, ['net[0]: Reserved fd number (<= 2)']],
    [
      'more pairs than vCPUs',
      { net: [{ num_queues: 4 }] },
      ['net[0]: Number of vCPUs is insufficient for number of queues'],
    ],
    ['an odd count', { net: [{ num_queues: 3 }] }, []],
  ]);
});

test('addresses and names of networks are what the kernel takes', () => {
  const multicast = (place: string, mac: string) =>
    `net[0].${place}: ${mac} is a multicast address (the lowest bit of the first byte is 1)`;
  expectProblems([
    [
      'multicast',
      { net: [{ mac: '01:00:5E:00:00:01', host_mac: 'ff:ff:ff:ff:ff:ff' }] },
      [multicast('mac', '01:00:5e:00:00:01'), multicast('host_mac', 'ff:ff:ff:ff:ff:ff')],
    ],
    ['zeros', { net: [{ mac: '00:00:00:00:00:00' }] }, ['net[0].mac: must not be all zeros']],
    ['15 bytes', { net: [{ tap: 'a23456789012345' }] }, []],
    [
      '16 bytes in 15 letters',
      { net: [{ tap: 'é23456789012345' }] },
      ['net[0].tap: "é23456789012345" is longer than 15 bytes'],
    ],
    ...['a/b', 'a b', 'a%d', '..'].map<[string, Parts, string[]]>((tap) => [
      tap,
      { net: [{ tap }] },
      [`net[0].tap: "${tap}" is no name of an interface`],
    ]),
  ]);
});

test('what a network’s back-end does not know is refused', () => {
  const forwards = [{ host_port: 1, guest_port: 2 }];
  expectProblems([
    ['user', { net: [{ backend: 'user', forwards, ip: '10.1.2.3', id: 'n' }] }, []],
    [
      'user with a TAP',
      {
        cpus: cpus(2),
        net: [{ backend: 'user', tap: 't', fd: [3, 4], num_queues: 4, rate_limiter_config: {} }],
      },
      [
        'net[0].tap: has no effect with backend user',
        'net[0].fd: has no effect with backend user',
        'net[0].rate_limiter_config: has no effect with backend user',
        'net[0].num_queues: backend user has one pair of queues: must be 2',
      ],
    ],
    ['forwards to a TAP', { net: [{ forwards }] }, ['net[0].forwards: has no effect with a TAP']],
    ['a name beside descriptors', { net: [{ fd: [3], tap: 't' }] }, ['net[0].tap: has no effect with fd']],
  ]);
});

test('14, 15: file systems', () => {
  const fs = { tag: 't', socket: '/s' };
  expectProblems([
    [
      'RAM not shared',
      { fs: [fs] },
      ['fs[0]: Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)'],
    ],
    ['RAM shared', { memory: SHARED, fs: [fs] }, []],
    [
      'more queues than vCPUs',
      { memory: SHARED, fs: [{ ...fs, num_queues: 2 }] },
      ['fs[0]: Number of vCPUs is insufficient for number of queues'],
    ],
    [
      'tags without and with too many bytes',
      { memory: SHARED, fs: ['', 'ä'.repeat(19), 'ä'.repeat(18)].map((tag) => ({ ...fs, tag })) },
      [0, 1].map((i) => `fs[${i}].tag: must have 1 to 36 bytes`),
    ],
  ]);
});

test('18, 19: huge pages', () => {
  expectProblems([
    [
      'a size without huge pages',
      { memory: { size: 2 ** 30, hugepage_size: 2 * MIB } },
      ['memory.hugepage_size: Huge page size specified but huge pages not enabled'],
    ],
    [
      'no power of two',
      { memory: { size: 2 ** 30, hugepages: true, hugepage_size: 3 * MIB } },
      [`memory.hugepage_size: Huge page size is not power of 2: ${3 * MIB}`],
    ],
    ['2 MiB', { memory: { size: 2 ** 30, hugepages: true, hugepage_size: 2 * MIB } }, []],
    [
      'RAM that is no number of pages',
      { memory: { size: 513 * MIB, hugepages: true, hugepage_size: 2 * MIB } },
      [`memory.size: must be a multiple of the huge page size ${2 * MIB}, got ${513 * MIB}`],
    ],
  ]);
});

test('RAM and its zones', () => {
  const zone = { id: 'a', size: MIB };
  const zoned = (...zones: readonly object[]): Parts => ({
    memory: { size: 0, hotplug_method: 'VirtioMem', zones: zones.map((one) => ({ ...zone, ...one })) },
  });
  expectProblems([
    ['no RAM', { memory: { size: 0 } }, ['memory.size: must not be 0 without memory zones']],
    ['no pages', { memory: { size: 4097 } }, ['memory.size: must be a multiple of 4096, got 4097']],
    ['zones', zoned({}, { id: 'b' }), []],
    [
      'both',
      { memory: { size: MIB, zones: [zone] } },
      ['memory.zones: memory.size must be 0 when zones are given'],
    ],
    ['an empty list', { memory: { size: MIB, zones: [] } }, []],
    ['one id twice', zoned({}, {}), ['memory.zones[1].id: "a" is taken by memory.zones[0]']],
    ['an empty zone', zoned({ size: 0 }), ['memory.zones[0].size: must not be 0']],
    [
      'a shared file on a node',
      zoned({ shared: true, file: '/f', host_numa_node: 0 }),
      ['memory.zones[0]: shared, file and host_numa_node cannot be combined'],
    ],
    ['room to grow', zoned({ hotplug_size: 128 * MIB, hotplugged_size: 128 * MIB }), []],
    [
      'no block of virtio-mem',
      zoned({ hotplug_size: MIB }),
      [`memory.zones[0].hotplug_size: must be a multiple of 128 MiB, got ${MIB}`],
    ],
    ['room of nothing', { memory: { size: MIB, hotplug_size: 0 } }, ['memory.hotplug_size: must not be 0']],
    [
      'a zone that grows by ACPI',
      { memory: { size: 0, zones: [{ ...zone, hotplug_size: 128 * MIB }] } },
      ['memory.zones[0].hotplug_size: needs memory.hotplug_method to be VirtioMem'],
    ],
    [
      'grown by ACPI',
      { memory: { size: MIB, hotplug_size: 128 * MIB, hotplugged_size: MIB } },
      ['memory.hotplugged_size: needs memory.hotplug_method to be VirtioMem'],
    ],
    [
      'grown without room, and beyond it',
      zoned({ hotplugged_size: MIB }, { id: 'b', hotplug_size: 128 * MIB, hotplugged_size: 129 * MIB }),
      [
        'memory.zones[0].hotplugged_size: needs hotplug_size',
        `memory.zones[1].hotplugged_size: larger than hotplug_size (${129 * MIB}, ${128 * MIB})`,
      ],
    ],
  ]);
});

test('NUMA nodes and SGX sections', () => {
  expectProblems([
    ['the only zone', { numa: [{ cpus: [0], memory_zones: ['mem0'] }] }, []],
    ['one node twice', { numa: [{}, {}] }, ['numa[1].guest_numa_id: 0 is taken by numa[0]']],
    [
      'what is not there',
      {
        numa: [
          {
            distances: [{ destination: 1, distance: 20 }],
            cpus: [1],
            memory_zones: ['z'],
            sgx_epc_sections: ['e'],
          },
        ],
      },
      [
        'numa[0].distances[0].destination: no NUMA node 1',
        'numa[0].memory_zones[0]: no memory zone "z"',
        'numa[0].sgx_epc_sections[0]: no SGX section "e"',
        'numa[0].cpus[0]: no vCPU 1 (max_vcpus 1)',
      ],
    ],
    [
      'a distance twice',
      {
        numa: [
          { distances: [20, 30].map((distance) => ({ destination: 1, distance })) },
          { guest_numa_id: 1 },
        ],
      },
      ['numa[0].distances[1].destination: node 1 is listed twice'],
    ],
    [
      'distances that ACPI does not have',
      { numa: [{ distances: [{ destination: 1, distance: 9 }, { distance: 20 }] }, { guest_numa_id: 1 }] },
      [
        'numa[0].distances[0].distance: must be at least 10, got 9',
        'numa[0].distances[1].distance: a node is 10 from itself',
      ],
    ],
    [
      'what is in two nodes',
      {
        numa: [
          { cpus: [0], memory_zones: ['mem0'] },
          { guest_numa_id: 1, cpus: [0], memory_zones: ['mem0'] },
        ],
      },
      [
        'numa[1].cpus[0]: 0 is listed in numa[0].cpus[0] already',
        'numa[1].memory_zones[0]: mem0 is listed in numa[0].memory_zones[0] already',
      ],
    ],
    [
      'sections',
      { sgx_epc: [{ id: 'a' }, { id: 'b', size: 4097 }, { id: 'c', size: 4096 }, { id: 'c', size: 4096 }] },
      [
        'sgx_epc[0].size: must be a multiple of 4096 above 0, got 0',
        'sgx_epc[1].size: must be a multiple of 4096 above 0, got 4097',
        'sgx_epc[3].id: "c" is taken by sgx_epc[2]',
      ],
    ],
  ]);
});

test('pmem and vsock', () => {
  const pmem = [1, 2, 0].map((size) => ({ file: '/p', size: size * MIB }));
  expectProblems([
    [
      'sizes',
      { pmem: [{ file: '/p' }, ...pmem] },
      [
        `pmem[1].size: must be a multiple of 2 MiB above 0, got ${MIB}`,
        'pmem[3].size: must be a multiple of 2 MiB above 0, got 0',
      ],
    ],
    ['the largest address', { vsock: { cid: 2 ** 32 - 2, socket: '/s' } }, []],
    [
      'an address of more than 32 bits',
      { vsock: { cid: 2 ** 32, socket: '/s' } },
      ['vsock.cid: larger than 4294967294'],
    ],
  ]);
});

test('the kernel’s command line is printable and fits', () => {
  assert.deepEqual(checkCmdline('a'.repeat(65_536)), []);
  assert.deepEqual(checkCmdline('a'.repeat(65_537)), ['cmdline.args: longer than 65536 bytes']);
  for (const args of ['a\nb', 'a\tb', 'ä', '\x7f']) {
    assert.deepEqual(checkCmdline(args), ['cmdline.args: only printable ASCII is possible']);
  }
});

test('paths that must be there are not empty', () => {
  assert.deepEqual(check({ kernel: { path: '' }, initramfs: { path: '' }, rng: { src: '' } }), [
    'kernel.path: No kernel specified',
    'initramfs.path: must not be empty',
    'rng.src: must not be empty',
  ]);
});

test('ids are there, free and not reserved', () => {
  expectProblems([
    ['generated ones, as answers show them', { disks: [diskCalled('_disk0'), diskCalled('_disk1')] }, []],
    ['none', { disks: [diskCalled('')] }, ['disks[0].id: must not be empty']],
    [
      'taken by another kind',
      { disks: [diskCalled('x')], net: [{ id: 'x' }], vsock: { cid: 3, socket: '/s', id: 'x' } },
      ['net[0].id: "x" is taken by disks[0]', 'vsock.id: "x" is taken by disks[0]'],
    ],
    [
      'the machine’s own',
      { disks: ['_console', '_rng', '_serial', '_ioapic', '_virtio-pci-_disk0'].map(diskCalled) },
      ['_console', '_rng', '_serial', '_ioapic', '_virtio-pci-_disk0'].map(
        (id, i) => `disks[${i}].id: "${id}" is reserved`,
      ),
    ],
  ]);
});

test('all problems are told, not only the first', () => {
  const problems = check({ cpus: cpus(2, 1), memory: { size: 0 }, disks: [{}], cmdline: { args: '\n' } });
  assert.equal(problems.length, 4);
});

test('PCI slots: on the bus, not the chip set’s, each asked for once', () => {
  const disk = (slot: number) => ({ path: '/a', pci_device_id: slot });
  const possible = '2 to 31 are possible';
  expectProblems([
    ['any on the bus', { disks: [disk(2), disk(31)], rng: { src: '/r', pci_device_id: 7 } }, []],
    [
      'beyond the bus, reserved ones',
      { disks: [disk(188), disk(32), disk(0), disk(1)] },
      [
        `disks[0].pci_device_id: Given PCI device ID (188) is out of the supported range of 0..32: ${possible}`,
        `disks[1].pci_device_id: Given PCI device ID (32) is out of the supported range of 0..32: ${possible}`,
        `disks[2].pci_device_id: Given PCI device ID (0) is reserved for the host bridge: ${possible}`,
        `disks[3].pci_device_id: Given PCI device ID (1) is reserved for the chip set: ${possible}`,
      ],
    ],
    [
      'twice the same',
      { disks: [disk(5)], balloon: { size: 0, pci_device_id: 5 } },
      ['balloon.pci_device_id: Valid PCI device identifier but already used: 5: it is that of disks[0]'],
    ],
    ['of a serial port', { serial: { mode: 'Null', pci_device_id: 5 }, disks: [disk(5)] }, []],
    ['of a console that is off', { console: { mode: 'Off', pci_device_id: 5 }, disks: [disk(5)] }, []],
  ]);
});

test('texts of the platform are not empty', () => {
  const members = ['serial_number', 'system_manufacturer', 'system_product_name', 'system_version'];
  members.push('system_family', 'system_sku_number', 'chassis_asset_tag');
  for (const member of members)
    assert.deepEqual(check({ platform: { [member]: '' } }), [`platform.${member}: must not be empty`]);
});
