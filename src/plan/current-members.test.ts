// QEMU's arguments for members that current versions of Cloud Hypervisor have.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { type VmConfig } from '../config/vm-config.ts';
import { renderArguments } from '../qemu/process/arguments.ts';
import { planDescriptors } from '../qemu/process/descriptors.ts';
import { placeDevices } from './placement.ts';
import { planMachine, type HostFacts } from './machine-plan.ts';

const HOST: HostFacts = {
  accelerator: { name: 'tcg', properties: {} },
  kernel: { kind: 'linux', path: '/k' },
  initramfs: undefined,
  facts: new Map(),
};

const configOf = (more: object): VmConfig => decodeVmConfig({ kernel: { path: '/k' }, ...more }).config;

function argumentsFor(more: object, host: Partial<HostFacts> = {}): string[] {
  const config = configOf(more);
  const { placements } = placeDevices(config);
  const facts = new Map(placements.map(({ id }) => [id, FACTS[id]]));
  const plan = planMachine(config, placements, { ...HOST, facts, ...host });
  return renderArguments(plan, planDescriptors(plan));
}

const disk = { layers: [{ path: '/d', driver: 'raw', isDevice: false }], serial: 's', aio: 'threads' };
const FACTS: Readonly<Record<string, unknown>> = {
  _disk0: disk,
  _net0: { mac: '12:34:56:78:90:ab', fds: undefined },
  _vfio0: { sysfs: '/sys/d' },
  _tpm: { fd: 9 },
};

/** The JSON of QEMU's arguments that is about one driver or kind of object. */
function jsonOf(args: readonly string[], kind: string): Readonly<Record<string, unknown>>[] {
  return args
    .filter((one) => one.startsWith('{') && one.includes(`"${kind}"`))
    .map((one) => JSON.parse(one) as Readonly<Record<string, unknown>>);
}

test('prefault and reserve are QEMU’s prealloc and reserve, of a zone or of all', () => {
  const memfds = (memory: object) =>
    jsonOf(argumentsFor({ memory }), 'memory-backend-memfd').map(({ prealloc, reserve }) => [
      prealloc,
      reserve,
    ]);
  assert.deepEqual(memfds({ size: 2 ** 30 }), [[undefined, undefined]]);
  assert.deepEqual(memfds({ size: 2 ** 30, prefault: true, reserve: false }), [[true, false]]);
  const zone = { size: 2 ** 30 };
  assert.deepEqual(
    // zones that differ only in settings that the guest cannot see are one object: the guest has one node
    memfds({
      size: 0,
      zones: [
        { id: 'a', ...zone, prefault: true },
        { id: 'b', ...zone },
      ],
    }),
    [[true, undefined]],
  );
});

test('transparent huge pages are off where one part of the RAM is to have none', () => {
  const isOn = (memory: object): boolean => {
    const config = configOf({ memory });
    return planMachine(config, [], HOST).hugePages;
  };
  assert.equal(isOn({ size: 2 ** 30 }), true);
  assert.equal(isOn({ size: 2 ** 30, thp: true }), true);
  assert.equal(isOn({ size: 2 ** 30, thp: false }), false);
  assert.equal(isOn({ size: 0, zones: [{ id: 'a', size: 2 ** 30, thp: false }] }), false);
});

test('nested=off takes virtualization from the processor, under KVM and under emulation', () => {
  const cpu = (cpus: object, name: 'tcg' | 'kvm'): string => {
    const args = argumentsFor(
      { cpus: { boot_vcpus: 1, max_vcpus: 1, ...cpus } },
      { accelerator: { name, properties: {} } },
    );
    return args[args.indexOf('-cpu') + 1] ?? '';
  };
  for (const name of ['tcg', 'kvm'] as const) {
    assert.match(cpu({ nested: false }, name), /vmx=off,svm=off/);
    assert.doesNotMatch(cpu({ nested: true }, name), /vmx|svm/);
    assert.doesNotMatch(cpu({}, name), /vmx|svm/);
  }
});

test('a queue with processors of its own has a thread, and all other queues of the disk have one', () => {
  const wish = [{ queue_index: 1, host_cpus: [0] }];
  const args = argumentsFor({
    cpus: { boot_vcpus: 3, max_vcpus: 3 },
    disks: [{ path: '/d', num_queues: 3, queue_affinity: wish }],
  });
  assert.deepEqual(
    jsonOf(args, 'iothread')
      .filter((one) => 'qom-type' in one)
      .map(({ id }) => id),
    ['n_disk0.q1', 'n_disk0.q'],
  );
  assert.deepEqual(jsonOf(args, 'virtio-blk-pci')[0]?.['iothread-vq-mapping'], [
    { iothread: 'n_disk0.q1', vqs: [1] },
    { iothread: 'n_disk0.q', vqs: [0, 2] },
  ]);
});

test('a queue that the disk does not have gets no thread', () => {
  const wish = [0, 1].map((queue_index) => ({ queue_index, host_cpus: [0] }));
  const args = argumentsFor({ disks: [{ path: '/d', queue_affinity: wish }] });
  assert.deepEqual(jsonOf(args, 'virtio-blk-pci')[0]?.['iothread-vq-mapping'], [
    { iothread: 'n_disk0.q0', vqs: [0] },
  ]);
  const none = argumentsFor({ disks: [{ path: '/d', queue_affinity: wish.slice(1) }] });
  assert.equal(jsonOf(none, 'virtio-blk-pci')[0]?.['iothread-vq-mapping'], undefined);
});

test('offloads that are off are not offered to the guest', () => {
  const off = (net: object): string[] => {
    const [device = {}] = jsonOf(argumentsFor({ net: [{ backend: 'user', ...net }] }), 'virtio-net-pci');
    return Object.keys(device).filter(
      (name) => /tso|uso|ufo|ecn|csum|offloads/.test(name) && device[name] === false,
    );
  };
  assert.deepEqual(off({ offload_tso: true }), []);
  assert.deepEqual(off({ offload_tso: false }).toSorted(), [
    'guest_ecn',
    'guest_tso4',
    'guest_tso6',
    'host_ecn',
    'host_tso4',
    'host_tso6',
  ]);
  assert.deepEqual(off({ offload_ufo: false }).toSorted(), [
    'guest_ufo',
    'guest_uso4',
    'guest_uso6',
    'host_ufo',
    'host_uso',
  ]);
  // segmentation needs the checksum offload
  assert.equal(off({ offload_csum: false }).length, 14);
});

test('a GPU’s clique, a TPM and files for fw_cfg are passed on', () => {
  const args = argumentsFor(
    { devices: [{ path: '/sys/d', x_nv_gpudirect_clique: 3 }], tpm: { socket: '/s' } },
    { fwCfg: [{ name: 'opt/a', file: '/x' }], handed: new Map([['/x', 7]]) },
  );
  assert.equal(jsonOf(args, 'vfio-pci')[0]?.['x-nv-gpudirect-clique'], 3);
  assert.equal(args[args.indexOf('-tpmdev') + 1], 'emulator,id=n_tpm.dev,chardev=n_tpm');
  assert.deepEqual(jsonOf(args, 'tpm-crb'), [{ driver: 'tpm-crb', tpmdev: 'n_tpm.dev' }]);
  assert.match(args[args.indexOf('-fw_cfg') + 1] ?? '', /^name=opt\/a,file=\/proc\/self\/fd\/\d+$/);
});
