import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../schema/decode.ts';
import { checkVmConfig } from './checks.ts';
import { VmConfig, type VmConfigInput } from './vm-config.ts';

type Parts = Partial<VmConfigInput>;

/** Returns the problems of a configuration, without the refusals of what is not supported. */
const check = (parts: Parts): string[] =>
  checkVmConfig(decode(VmConfig, { kernel: { path: '/k' }, ...parts })).map((problem) => problem.text);

const cpus = (boot: number, max = boot) => ({ boot_vcpus: boot, max_vcpus: max });
const diskCalled = (id: string) => ({ path: '/a', id });

/** A configuration, and the problems that it must have. */
function expectProblems(cases: readonly [string, Parts, readonly string[]][]): void {
  for (const [name, parts, problems] of cases) assert.deepEqual(check(parts), problems, name);
}

test('one console at most is on the terminal, in the dialect of the contract', () => {
  expectProblems([
    [
      'two terminals',
      { serial: { mode: 'Tty' } },
      ['console.mode: Console mode tty specified for both serial and console'],
    ],
    ['one terminal', { serial: { mode: 'Tty' }, console: { mode: 'Off' } }, []],
    ['two PTYs', { serial: { mode: 'Pty' }, console: { mode: 'Pty' } }, []],
    [
      'a debug console too',
      { debug_console: { mode: 'Tty' } },
      ['debug_console.mode: the terminal is that of another console already'],
    ],
    ['two terminals of a current client', { serial: { mode: 'Tty' }, payload: { kernel: '/k' } }, []],
  ]);
});

test('queues and balloons are compared with the vCPUs and the RAM of the VM', () => {
  expectProblems([
    [
      'more queues than vCPUs at boot',
      { cpus: cpus(2, 4), disks: [{ path: '/a', num_queues: 3 }] },
      ['disks[0]: Number of vCPUs is insufficient for number of queues'],
    ],
    ['as many queues as vCPUs', { cpus: cpus(2), disks: [{ path: '/a', num_queues: 2 }] }, []],
    [
      'a balloon as large as the RAM',
      { memory: { size: 2 ** 30 }, balloon: { size: 2 ** 30 } },
      [`balloon.size: must be less than the RAM (${2 ** 30}), got ${2 ** 30}`],
    ],
  ]);
});

test('vhost-user devices need RAM that their back-ends can map', () => {
  const fs = [{ tag: 't', socket: '/s' }];
  const problem = 'Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)';
  expectProblems([
    ['not shared', { fs }, [`fs[0]: ${problem}`]],
    ['shared', { memory: { size: 2 ** 30, shared: true }, fs }, []],
    ['huge pages', { memory: { size: 2 ** 30, hugepages: true }, fs }, [`fs[0]: ${problem}`]],
    [
      'huge pages, for a current client',
      { payload: { kernel: '/k' }, memory: { size: 2 ** 30, hugepages: true }, fs },
      [],
    ],
  ]);
});

test('disks name rate limit groups that exist, and have no other limits', () => {
  const disk = { path: '/a', rate_limit_group: 'g' };
  const groups = { rate_limit_groups: [{ id: 'g' }] };
  expectProblems([
    ['a group', { ...groups, disks: [disk] }, []],
    ['no group', { disks: [disk] }, ['disks[0].rate_limit_group: there is no rate limit group "g"']],
    [
      'limits of its own',
      { ...groups, disks: [{ ...disk, rate_limiter_config: {} }] },
      ['disks[0].rate_limit_group: the disk has limits of its own (rate_limiter_config)'],
    ],
  ]);
});

test('NUMA nodes refer to vCPUs, memory zones and SGX sections that exist', () => {
  expectProblems([
    ['the only zone', { numa: [{ cpus: [0], memory_zones: ['mem0'] }] }, []],
    ['one node twice', { numa: [{}, {}] }, ['numa[1].guest_numa_id: 0 is taken by numa[0]']],
    [
      'references to nothing',
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
      'one vCPU in two nodes',
      { numa: [{ cpus: [0] }, { guest_numa_id: 1, cpus: [0] }] },
      ['numa[1].cpus[0]: 0 is listed in numa[0].cpus[0] already'],
    ],
  ]);
});

test('problems are reported in the order of the rules, not of the members', () => {
  const problems = check({
    sgx_epc: [{ id: 'e' }],
    rng: { src: '' },
    disks: [{ queue_affinity: [{ queue_index: 0, host_cpus: [] }] }],
    platform: { uuid: 'u' },
    cmdline: { args: '\n' },
    kernel: { path: '' },
    net: [{ num_queues: 1 }],
    cpus: { ...cpus(2, 1) },
  });
  assert.deepEqual(
    problems.map((problem) => problem.slice(0, problem.indexOf(': '))),
    [
      ...['kernel.path', 'rng.src', 'cmdline.args', 'platform.uuid', 'cpus.max_vcpus', 'disks[0].path'],
      ...['net[0]', 'sgx_epc[0].size', 'disks[0].queue_affinity[0].host_cpus'],
    ],
  );
});

test('ids must not be empty, taken or reserved', () => {
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

test('all problems are reported, not only the first', () => {
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
