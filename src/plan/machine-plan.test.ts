import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { placeDevices } from './placement.ts';
import { planMachine, type HostFacts } from './machine-plan.ts';

const HOST: HostFacts = {
  accelerator: { name: 'tcg', properties: { thread: 'multi' } },
  kernel: { kind: 'linux', path: '/cache/elf' },
  initramfs: undefined,
  facts: new Map(),
};

function plan(more: Readonly<Record<string, unknown>>, host: Partial<HostFacts> = {}) {
  const { config } = decodeVmConfig({ kernel: { path: '/k' }, ...more });
  return planMachine(config, placeDevices(config).placements, { ...HOST, ...host });
}

test('vCPUs and their topology', () => {
  assert.deepEqual(plan({ cpus: { boot_vcpus: 6, max_vcpus: 6 } }).smp, { cpus: 6, maxcpus: 6 });
  const topology = { threads_per_core: 2, cores_per_die: 3, dies_per_package: 4, packages: 5 };
  assert.deepEqual(plan({ cpus: { boot_vcpus: 1, max_vcpus: 120, topology } }).smp, {
    cpus: 1,
    maxcpus: 120,
    sockets: 5,
    dies: 4,
    cores: 3,
    threads: 2,
  });
});

test('under emulation vCPUs that can be added are packages, unless a topology is given', () => {
  const cpus = { boot_vcpus: 2, max_vcpus: 6 };
  assert.deepEqual(plan({ cpus }).smp, { cpus: 2, maxcpus: 6, sockets: 6, cores: 1, threads: 1 });
  const kvm: Partial<HostFacts> = { accelerator: { name: 'kvm', properties: {} } };
  assert.deepEqual(plan({ cpus }, kvm).smp, { cpus: 2, maxcpus: 6 });
});

test('an emulated guest that can lose vCPUs has an HPET, and no other guest', () => {
  const hpetOf = (max: number, host?: Partial<HostFacts>) =>
    plan({ cpus: { boot_vcpus: 1, max_vcpus: max } }, host).machine.properties['hpet'];
  assert.equal(hpetOf(2), true);
  assert.equal(hpetOf(1), false);
  assert.equal(hpetOf(2, { accelerator: { name: 'kvm', properties: {} } }), false);
});

test('physical address bits: what was asked for, no more than the emulation has', () => {
  const bitsOf = (cpus: object, host?: Partial<HostFacts>) =>
    plan({ cpus: { boot_vcpus: 1, max_vcpus: 1, ...cpus } }, host).cpu.properties;
  assert.equal('phys-bits' in bitsOf({}), false);
  assert.equal(bitsOf({ max_phys_bits: 36 })['phys-bits'], 36);
  assert.equal(bitsOf({ max_phys_bits: 46 })['phys-bits'], 40);
  const kvm: Partial<HostFacts> = { accelerator: { name: 'kvm', properties: {} } };
  assert.deepEqual(bitsOf({ max_phys_bits: 46 }, kvm), {
    'host-phys-bits': true,
    'host-phys-bits-limit': 46,
  });
  assert.equal(bitsOf({}, kvm)['host-phys-bits'], true);
});

test('Hyper-V interfaces, where KVM can give them', () => {
  const cpus = { boot_vcpus: 1, max_vcpus: 1, kvm_hyperv: true };
  const kvm: Partial<HostFacts> = { accelerator: { name: 'kvm', properties: {} } };
  const { properties } = plan({ cpus }, kvm).cpu;
  for (const name of ['hv-synic', 'hv-vpindex', 'hv-time', 'hv-stimer']) assert.equal(properties[name], true);
  assert.equal('hv-synic' in plan({}, kvm).cpu.properties, false);
});

test('under emulation the fast string instructions are hidden', () => {
  assert.deepEqual(plan({}).cpu, {
    model: 'max',
    properties: { erms: false, fsrm: false, fsrs: false, fzrm: false },
  });
  const kvm: Partial<HostFacts> = { accelerator: { name: 'kvm', properties: {} } };
  assert.equal('erms' in plan({}, kvm).cpu.properties, false);
});

test('a kernel is entered as the host made it bootable, with initramfs and command line', () => {
  const more = { initramfs: { path: '/i' }, cmdline: { args: 'a="b, c"' } };
  assert.deepEqual(plan(more, { initramfs: '/cache/i' }).boot, {
    kind: 'kernel',
    path: '/cache/elf',
    initramfs: '/cache/i',
    cmdline: 'a="b, c"',
    firmware: 'qboot.rom',
  });
  const bzimage: HostFacts['kernel'] = { kind: 'bzimage', path: '/k' };
  assert.deepEqual(plan({}, { kernel: bzimage }).boot, {
    kind: 'kernel',
    path: '/k',
    initramfs: undefined,
    cmdline: '',
    firmware: 'qboot.rom',
  });
});

test('an ELF that is no Linux gets firmware that assigns addresses to PCI devices', () => {
  const { boot } = plan({ cmdline: { args: 'x' } }, { kernel: { kind: 'pvh', path: '/hypervisor-fw' } });
  assert.deepEqual(boot, {
    kind: 'kernel',
    path: '/hypervisor-fw',
    initramfs: undefined,
    cmdline: 'x',
    firmware: 'bios-256k.bin',
  });
});

test('no_timer_check is added if the host facts request it, for Linux only', () => {
  const cmdlineOf = (kind: 'linux' | 'bzimage' | 'pvh', skipsTimerCheck: boolean): unknown => {
    const accelerator = { ...HOST.accelerator, skipsTimerCheck };
    const { boot } = plan({ cmdline: { args: 'x' } }, { kernel: { kind, path: '/k' }, accelerator });
    return boot.kind === 'kernel' ? boot.cmdline : undefined;
  };
  assert.equal(cmdlineOf('linux', true), 'x no_timer_check');
  assert.equal(cmdlineOf('bzimage', true), 'x no_timer_check');
  assert.equal(cmdlineOf('pvh', true), 'x');
  assert.equal(cmdlineOf('linux', false), 'x');
});

test('firmware starts alone', () => {
  for (const form of ['rom', 'flash'] as const) {
    const { boot } = plan({ cmdline: { args: 'x' } }, { kernel: { kind: form, path: '/fw, bin' } });
    assert.deepEqual(boot, { kind: 'firmware', form, path: '/fw, bin' });
  }
});

test('the RAM is the machine’s memory: its size, its back-end first of all steps', () => {
  const { machine, memory, numa, steps } = plan({ memory: { size: 2 ** 30, shared: true } });
  assert.equal(memory.size, 2 ** 30);
  assert.deepEqual(numa, []);
  const first = steps[0];
  assert.ok(first?.kind === 'object');
  assert.equal(first.props.id, machine.properties['memory-backend']);
  assert.equal(first.props['size'], 2 ** 30);
  assert.equal(first.props['share'], true);
});

test('SGX sections: an object each, in the machine and the vCPUs (no test host has SGX)', () => {
  const { machine, cpu, steps, numa } = plan({
    sgx_epc: [
      { id: 'a, b', size: 65_536, prefault: true },
      { id: 'c', size: 4096 },
    ],
    numa: [{}, { guest_numa_id: 1, sgx_epc_sections: ['c'] }],
  });
  assert.equal(numa.length, 2);
  const told = Object.entries(machine.properties).filter(([name]) => name.startsWith('sgx'));
  assert.deepEqual(Object.fromEntries(told), {
    'sgx-epc.0.memdev': 'epc0',
    'sgx-epc.0.node': 0,
    'sgx-epc.1.memdev': 'epc1',
    'sgx-epc.1.node': 1,
  });
  assert.equal(cpu.properties['sgx-provisionkey'], true);
  const sections = steps.flatMap((step) =>
    step.kind === 'object' && step.props['qom-type'] === 'memory-backend-epc' ? [step.props] : [],
  );
  assert.deepEqual(
    sections.map(({ id, size, prealloc }) => [id, size, prealloc]),
    [
      ['epc0', 65_536, true],
      ['epc1', 4096, false],
    ],
  );
});

test('pmem: a shared mapping; with discard_writes a private one of a read-only file', () => {
  const facts: HostFacts['facts'] = new Map([
    ['_pmem0', { size: 2 ** 21, isFolder: false }],
    ['_pmem1', { size: 2 ** 22, isFolder: false }],
    ['_pmem2', { size: 2 ** 23, isFolder: true }],
  ]);
  const pmem = [
    { file: '/a, b' },
    { file: '/c', discard_writes: true },
    { file: '/d', discard_writes: true },
  ];
  const { steps, memory } = plan({ pmem, console: { mode: 'Off' } }, { facts });
  const files = steps.flatMap((step) =>
    step.kind === 'object' && 'mem-path' in step.props ? [step.props] : [],
  );
  assert.deepEqual(
    files.map((props) => [props['mem-path'], props['size'], props['share'], props['readonly']]),
    [
      ['/a, b', 2 ** 21, true, undefined],
      ['/c', 2 ** 22, false, true],
      ['/d', 2 ** 23, true, undefined],
    ],
  );
  // all three are in the address space behind the RAM, beside the addresses for later devices
  assert.equal(memory.max - plan({}).memory.max, 2 ** 27);
});

test('the same question has the same answer', () => {
  const more = { disks: [{ path: '/d' }], serial: { mode: 'Pty' }, console: { mode: 'File', file: '/f' } };
  const facts: HostFacts['facts'] = new Map([
    ['_disk0', { layers: [{ path: '/d', driver: 'raw', isDevice: false }], serial: '1', aio: 'threads' }],
  ]);
  assert.deepEqual(plan(more, { facts }), plan(more, { facts }));
});
