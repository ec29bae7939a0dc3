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

test('nested=off disables virtualization features, under KVM and under emulation', () => {
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

test('a GPU’s clique, a TPM and files for fw_cfg are passed on', () => {
  const args = argumentsFor(
    { devices: [{ path: '/sys/d', x_nv_gpudirect_clique: 3 }], tpm: { socket: '/s' } },
    { fwCfg: [{ name: 'opt/a', file: '/x' }], inherited: new Map([['/x', 7]]) },
  );
  assert.equal(jsonOf(args, 'vfio-pci')[0]?.['x-nv-gpudirect-clique'], 3);
  assert.equal(args[args.indexOf('-tpmdev') + 1], 'emulator,id=n_tpm.dev,chardev=n_tpm');
  assert.deepEqual(jsonOf(args, 'tpm-crb'), [{ driver: 'tpm-crb', tpmdev: 'n_tpm.dev' }]);
  assert.match(args[args.indexOf('-fw_cfg') + 1] ?? '', /^name=opt\/a,file=\/proc\/self\/fd\/\d+$/);
});
