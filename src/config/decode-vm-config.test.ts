import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UNSUPPORTED } from '../devices/unsupported/config.ts';
import { decode } from '../schema/decode.ts';
import { ConfigError } from './errors.ts';
import { decodeVmConfig, validateVmConfig } from './decode-vm-config.ts';
import { encodeVmConfig, VmConfig } from './vm-config.ts';

const failure = (json: unknown): ConfigError => {
  try {
    decodeVmConfig(json);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error;
  }
  throw new Error('was accepted');
};

const KERNEL = { kernel: { path: '/boot/vmlinux' } };

/** Configuration that Cloud Hypervisor makes of a kernel alone; members that were not given are left out. */
const DEFAULTS = {
  cpus: { boot_vcpus: 1, max_vcpus: 1, kvm_hyperv: false },
  memory: {
    size: 536_870_912,
    mergeable: false,
    hotplug_method: 'Acpi',
    shared: false,
    hugepages: false,
  },
  kernel: { path: '/boot/vmlinux' },
  cmdline: { args: '' },
  rng: { src: '/dev/urandom', iommu: false },
  serial: { mode: 'Null', iommu: false },
  console: { mode: 'Tty', iommu: false },
  iommu: false,
  watchdog: false,
};

test('a configuration with only a kernel gets the defaults of Cloud Hypervisor', () => {
  const { config, warnings } = decodeVmConfig(KERNEL);
  assert.deepEqual(encodeVmConfig(config), DEFAULTS);
  assert.deepEqual(warnings, []);
});

test('answers keep the order of the contract', () => {
  const whole = encodeVmConfig(decode(VmConfig, { ...WHOLE, kernel: WHOLE.kernel }));
  // those of current versions come after them
  const order = Object.entries(VmConfig.fields).filter(([, { beyond }]) => !beyond);
  assert.deepEqual(
    Object.keys(whole),
    order.map(([member]) => member),
  );
});

test('a configuration from an answer of Cloud Hypervisor, with null members, is accepted', () => {
  const { config } = decodeVmConfig({
    cpus: {
      boot_vcpus: 1,
      max_vcpus: 1,
      topology: null,
      kvm_hyperv: false,
      max_phys_bits: null,
    },
    memory: {
      size: 536870912,
      mergeable: false,
      hotplug_method: 'Acpi',
      hotplug_size: null,
      hotplugged_size: null,
      shared: false,
      hugepages: false,
      hugepage_size: null,
      zones: null,
    },
    kernel: { path: '/boot/vmlinux' },
    initramfs: null,
    cmdline: { args: '' },
    disks: null,
    net: null,
    rng: {
      src: '/dev/urandom',
      iommu: false,
    },
    balloon: null,
    fs: null,
    pmem: null,
    serial: {
      file: null,
      mode: 'Null',
      iommu: false,
    },
    console: {
      file: null,
      mode: 'Tty',
      iommu: false,
    },
    devices: null,
    vsock: null,
    iommu: false,
    sgx_epc: null,
    numa: null,
    watchdog: false,
  });
  assert.deepEqual(encodeVmConfig(config), DEFAULTS);
});

/** Every member, with values that are not the defaults. */
const WHOLE = {
  cpus: {
    boot_vcpus: 2,
    max_vcpus: 4,
    kvm_hyperv: true,
    max_phys_bits: 40,
    topology: {
      threads_per_core: 2,
      cores_per_die: 2,
      dies_per_package: 1,
      packages: 1,
    },
  },
  memory: {
    size: 0,
    mergeable: true,
    hotplug_method: 'VirtioMem',
    hotplug_size: 0x8000000,
    hotplugged_size: 0,
    shared: true,
    hugepages: true,
    hugepage_size: 2097152,
    zones: [
      {
        id: 'z',
        size: 2 ** 30,
        file: '/dev/shm',
        mergeable: true,
        hotplug_size: 0x8000000,
      },
    ],
  },
  kernel: { path: '/k' },
  initramfs: { path: '/i' },
  cmdline: { args: 'console=ttyS0' },
  disks: [
    {
      path: '/d',
      readonly: true,
      direct: true,
      num_queues: 2,
      queue_size: 256,
      id: 'd0',
      rate_limiter_config: {
        ops: {
          size: 1,
          one_time_burst: 2,
          refill_time: 3,
        },
      },
    },
  ],
  net: [{ tap: 'tap0', mac: '12:34:56:78:90:AB', host_mac: '12:34:56:78:90:ac', vhost_mode: 'server' }],
  rng: { src: '/dev/random', iommu: true },
  balloon: { size: 1, deflate_on_oom: true },
  fs: [{ tag: 't', socket: '/s', dax: false }],
  pmem: [{ file: '/p', size: 2_097_152 }],
  serial: { mode: 'File', file: '/f' },
  console: { mode: 'Pty', file: '/dev/pts/3' },
  devices: [{ path: '/sys/bus/pci/devices/0000:01:00.0' }],
  vsock: { cid: 3, socket: '/v', id: 'v0' },
  iommu: true,
  sgx_epc: [{ id: 'e', size: 4096, prefault: true }],
  numa: [
    {
      guest_numa_id: 0,
      cpus: [0, 1],
      memory_zones: ['z'],
      sgx_epc_sections: ['e'],
      distances: [
        {
          destination: 0,
          distance: 10,
        },
      ],
    },
  ],
  watchdog: true,
} as const;

test('an answer can be sent again and gives the same answer', () => {
  const once = encodeVmConfig(decode(VmConfig, JSON.parse(JSON.stringify(WHOLE))));
  const again = encodeVmConfig(decode(VmConfig, once));
  assert.deepEqual(again, once);
  assert.equal(JSON.stringify(again), JSON.stringify(once));
  assert.equal(once.net?.[0]?.mac, '12:34:56:78:90:ab');
});

test('every given member is kept', () => {
  const given = JSON.parse(
    JSON.stringify(WHOLE).replace('90:AB', '90:ab').replace('server', 'Server'),
  ) as object;
  const answer: unknown = encodeVmConfig(decode(VmConfig, given));
  assert.ok(contains(answer, given), JSON.stringify(answer));
});

function contains(whole: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null) return whole === part;
  if (typeof whole !== 'object' || whole === null) return false;
  const members = new Map<string, unknown>(Object.entries(whole));
  return Object.entries(part).every(([name, value]) => contains(members.get(name), value));
}

test('all unsupported members are refused at once, by name', () => {
  const later = {
    ...KERNEL,
    user_devices: [{ socket: '/s' }],
    vdpa: [{ path: '/v' }],
  };
  const error = failure(later);
  assert.equal(error.kind, 'invalid');
  const refused = error.problems.filter((problem) => problem.startsWith('not supported yet: '));
  assert.deepEqual(
    refused.map((problem) => problem.slice('not supported yet: '.length)),
    [`user_devices (${UNSUPPORTED.user_devices})`, `vdpa (${UNSUPPORTED.vdpa})`],
  );
});

test('an unsupported member with its default is accepted', () => {
  decodeVmConfig({
    ...KERNEL,
    cpus: {
      boot_vcpus: 1,
      max_vcpus: 1,
    },
    vdpa: [],
    user_devices: null,
    memory: {
      size: 2 ** 30,
      hotplug_method: 'acpi',
      hotplug_size: null,
      zones: [],
    },
    disks: [
      {
        path: '/a',
        iommu: false,
        vhost_user: false,
        poll_queue: false,
        disable_io_uring: true,
      },
    ],
    net: [],
    fs: [],
    pmem: null,
    devices: [],
    balloon: null,
    vsock: null,
    sgx_epc: [],
    numa: [],
    iommu: false,
    watchdog: false,
  });
});

test('unknown members are ignored with one warning', () => {
  const { warnings } = decodeVmConfig({
    ...KERNEL,
    rtc: {},
    disks: [{ path: '/a', core_device_id: 7, colour: 'red' }],
  });
  assert.deepEqual(warnings, ['unknown fields ignored: rtc, disks[0].core_device_id, disks[0].colour']);
});

test('members that change nothing are taken with a warning each, where they ask for something', () => {
  const { warnings } = decodeVmConfig({
    ...KERNEL,
    memory: { size: 2 ** 30, shared: true },
    platform: { num_pci_segments: 2 },
    disks: [
      { path: '/a', pci_segment: 1, lock_granularity: 'Full' },
      { path: '/b', pci_segment: 0, lock_granularity: 'byte-range' },
    ],
    numa: [{ guest_numa_id: 0, pci_segments: [1] }],
    pci_segments: [{ pci_segment: 1, mmio32_aperture_weight: 2, mmio64_aperture_weight: 3 }],
    pvmemcontrol: {},
    landlock_enable: true,
    landlock_rules: [{ path: '/a', access: 'rw' }],
    payload: { kernel: '/k', fw_cfg_config: { e820: false, acpi_tables: true } },
  });
  assert.deepEqual(
    warnings.map((warning) => warning.split(':')[0]),
    [
      'disks[0].pci_segment',
      'disks[0].lock_granularity',
      'numa[0].pci_segments',
      'payload.fw_cfg_config.e820',
      'pci_segments',
      'landlock_enable',
      'landlock_rules',
      'pvmemcontrol',
    ],
  );
  assert.deepEqual(decodeVmConfig({ ...KERNEL, landlock_enable: false, landlock_rules: [] }).warnings, []);
});

test('settings that contradict each other are refused with the reason', () => {
  const refused: [object, string][] = [
    [{ platform: { tdx: true } }, 'platform.tdx (nothing here protects a guest from its host'],
    [{ platform: { sev_snp: true } }, 'platform.sev_snp (nothing here protects a guest from its host'],
    [{ payload: { kernel: '/k', host_data: 'x' } }, 'payload.host_data (there is no processor'],
  ];
  for (const [json, text] of refused) {
    const [problem = ''] = failure({ ...KERNEL, ...json }).problems;
    assert.ok(problem.startsWith(`not supported yet: ${text}`), problem);
  }
  assert.deepEqual(failure({ payload: { igvm: '/i' } }).problems, [
    'payload.igvm: QEMU 10 cannot load IGVM files',
  ]);
});

test('all faults of a malformed configuration are reported, with their places', () => {
  const error = failure({ cpus: { boot_vcpus: 256 }, kernel: {}, disks: [{ readonly: 'yes' }], net: {} });
  assert.equal(error.kind, 'malformed');
  assert.deepEqual(error.problems, [
    'cpus.boot_vcpus: expected a whole number from 1 to 255, got 256',
    'missing field "cpus.max_vcpus"',
    'missing field "kernel.path"',
    'disks[0].readonly: expected true or false, got "yes"',
    'net: expected a list, got {}',
  ]);
  assert.deepEqual(failure({}).problems, ['missing field "kernel"']);
  for (const json of [null, [], 'x', 1, true]) {
    assert.deepEqual(failure(json).problems, [`expected an object, got ${JSON.stringify(json)}`]);
  }
});

test('a configuration that grew is checked as a whole', () => {
  const { config } = decodeVmConfig({ ...KERNEL, disks: [{ path: '/a', id: 'a' }] });
  const [disk] = config.disks ?? [];
  assert.ok(disk);
  assert.throws(() => validateVmConfig({ ...config, disks: [disk, disk] }), { kind: 'duplicate' });
});

test('payload is taken apart, and answered as it was given', () => {
  const payload = { kernel: '/k', cmdline: 'a, b', initramfs: '/i' };
  const { config } = decodeVmConfig({ payload });
  assert.deepEqual(
    [config.kernel, config.cmdline, config.initramfs],
    [{ path: '/k' }, { args: 'a, b' }, { path: '/i' }],
  );
  const answer = encodeVmConfig(config);
  assert.deepEqual(answer.payload, payload);
  assert.ok(!('kernel' in answer || 'cmdline' in answer || 'initramfs' in answer));
  assert.deepEqual(decodeVmConfig(JSON.parse(JSON.stringify(answer))).config, config);
  assert.equal(decodeVmConfig({ payload: { firmware: '/f' } }).config.kernel.path, '/f');
});

test('invalid texts of a platform are refused', () => {
  const error = failure({
    ...KERNEL,
    platform: { uuid: '1', serial_number: '', oem_strings: [''] },
    disks: [{ path: '/a', serial: 'x'.repeat(21) }],
  });
  assert.deepEqual(error.problems, [
    'platform.uuid: "1" is no UUID',
    'platform.serial_number: must not be empty',
    'platform.oem_strings: must not be empty',
    'disks[0].serial: longer than 20 bytes',
  ]);
});
