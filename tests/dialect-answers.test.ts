// Answers in both dialects: those of a VM that was created with `kernel`, and with `payload`.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addedDevice, assertRefused, assertStatus } from './support/answers.ts';
import { startBlockBackend, startFsBackend } from './support/backends.ts';
import { createAndBoot, login } from './support/boot.ts';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { createImage, makeImage } from './support/images.ts';
import { againstDocument } from './support/json-schema.ts';
import { openShell, type Shell } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';
import { problemsOf } from './support/structs/decode.ts';
import { AFTER_V17, V17 } from './support/structs/v17.ts';
import { V40 } from './support/structs/v40.ts';
import { V53 } from './support/structs/v53.ts';

const MIB = 2 ** 20;
const CMDLINE = 'console=ttyS0 memhp_default_state=online';
const FORMS = {
  kernel: { kernel: { path: KERNEL }, initramfs: { path: INITRAMFS }, cmdline: { args: CMDLINE } },
  payload: { payload: { kernel: KERNEL, initramfs: INITRAMFS, cmdline: CMDLINE } },
} as const;

interface Info {
  readonly config: Readonly<Record<string, unknown>>;
  readonly device_tree: Readonly<Record<string, { readonly pci_bdf?: unknown }>>;
}

const infoOf = async (vmm: TestVmm): Promise<Info> => (await vmm.get('vm.info')).json as Info;
const idsOf = ({ device_tree: tree }: Info): string[] =>
  Object.keys(tree).filter((id) => !id.startsWith('_virtio-pci-'));

function image(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  makeImage(path, 8 * MIB, name);
  return path;
}

/** As many devices as a machine without special hardware can have, in members that both dialects have. */
function devices(vmm: TestVmm, at: (name: string) => string): Record<string, unknown> {
  const limits = { bandwidth: { size: 2 ** 30, refill_time: 100 }, ops: { size: 1e6, refill_time: 100 } };
  return {
    cpus: {
      boot_vcpus: 1,
      max_vcpus: 2,
      topology: { threads_per_core: 1, cores_per_die: 2, dies_per_package: 1, packages: 1 },
    },
    serial: { mode: 'Pty' },
    console: { mode: 'Null', iommu: true },
    disks: [
      { path: image(vmm, 'plain.raw'), rate_limiter_config: limits },
      { path: createImage(at('b.qcow2'), '4M', ['-f', 'qcow2']), id: 'mine', readonly: true },
      { vhost_user: true, vhost_socket: at('blk') },
    ],
    net: [{ backend: 'user', rate_limiter_config: undefined }],
    balloon: { size: 0 },
    fs: [{ tag: 'shared', socket: at('fs') }],
    pmem: [{ file: image(vmm, 'pmem.img') }],
    vsock: { cid: 3, socket: at('vsock') },
    watchdog: true,
    iommu: true,
  };
}

/** RAM in two zones, of which the second grows by a virtio-mem device. */
const zones = (shared: boolean) => ({
  size: 0,
  hotplug_method: 'VirtioMem',
  zones: [
    { id: 'low', size: 256 * MIB, shared },
    { id: 'mem0', size: 128 * MIB, shared, hotplug_size: 256 * MIB, hotplugged_size: 0 },
  ],
});

const numa = [
  { guest_numa_id: 0, cpus: [0], memory_zones: ['low'], distances: [{ destination: 1, distance: 25 }] },
  { guest_numa_id: 1, cpus: [1], memory_zones: ['mem0'] },
];

async function bootWith(vmm: TestVmm, config: Readonly<Record<string, unknown>>): Promise<Shell> {
  await createAndBoot(vmm, config);
  const shell = await login(vmm);
  return shell;
}

/** Returns the paths of these members in a value. */
function placesOf(value: unknown, names: readonly string[], at = ''): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => [
    ...(names.includes(name) ? [`${at}.${name}`] : []),
    ...placesOf(member, names, `${at}.${name}`),
  ]);
}

test('with `payload`: answers as v40, readable by v40 and v53', async (t) => {
  await using vmm = await startVmm();
  const at = (name: string): string => join(vmm.folder, name);
  mkdirSync(at('folder'));
  await using _blk = startBlockBackend(at('blk'), image(vmm, 'served.raw'));
  await using _fs = startFsBackend(at('fs'), at('folder'));
  const config = {
    ...FORMS.payload,
    ...devices(vmm, at),
    // back-ends need shared zones only
    memory: zones(true),
    numa,
    debug_console: { mode: 'File', file: at('debug') },
    pvpanic: true,
    platform: { num_pci_segments: 1, serial_number: 'S', oem_strings: ['a'] },
    rate_limit_groups: [{ id: 'group', rate_limiter_config: { ops: { size: 1e6, refill_time: 100 } } }],
  };
  using shell = await bootWith(vmm, config);
  const info = await infoOf(vmm);

  await t.test('the names and addresses of devices', () => {
    const fixed = ['__ioapic', '__serial', '__console', '__debug_console', '__rng', '__balloon'];
    const more = ['__watchdog', '__pvpanic', '__iommu', 'mem0', 'mine'];
    const numbered = ['_disk0', '_disk1', '_net2', '_fs3', '_pmem4', '_vsock5'];
    assert.deepEqual(idsOf(info).toSorted(), [...fixed, ...more, ...numbered].toSorted());
    const nodes = Object.entries(info.device_tree);
    assert.ok(!nodes.some(([id]) => id === '_virtio-pci-__pvpanic'), 'pvpanic is its own function');
    const onBus = nodes.filter(([id]) => id.startsWith('_virtio-pci-') || id === '__pvpanic');
    assert.equal(onBus.length, 14);
    for (const [id, { pci_bdf: bdf }] of onBus) assert.match(String(bdf), /^0000:00:[\da-f]{2}\.0$/, id);
  });

  await t.test('the structs and the document', async () => {
    assert.deepEqual(problemsOf(V40, ['VmInfo', info], { complete: true }), []);
    assert.deepEqual(problemsOf(V53, ['VmInfo', info]), []);
    assert.deepEqual(await againstDocument(vmm, 'openapi-everything.json', ['VmInfo', info]), []);
    const ping = (await vmm.get('vmm.ping')).json;
    for (const structs of [V40, V53]) assert.deepEqual(problemsOf(structs, ['VmmPingResponse', ping]), []);
    // members that v40 no longer has
    assert.deepEqual(placesOf(info, ['poll_queue', 'dax', 'cache_size', 'kernel', 'initramfs']), [
      '.config.payload.kernel',
      '.config.payload.initramfs',
    ]);
  });

  await t.test('vm.add-* and vm.remove-device', async () => {
    const path = image(vmm, 'added.raw');
    for (const [route, part] of [
      ['vm.add-disk', { path, readonly: true }],
      ['vm.add-net', { backend: 'user' }],
      ['vm.add-pmem', { file: image(vmm, 'added.img') }],
    ] as const) {
      const added = await vmm.put(route, part);
      assertStatus(added, 200);
      for (const structs of [V40, V53])
        assert.deepEqual(problemsOf(structs, ['PciDeviceInfo', added.json]), []);
      const { id, bdf } = addedDevice(added);
      assert.equal((await infoOf(vmm)).device_tree[`_virtio-pci-${id}`]?.pci_bdf, bdf);
    }
    // the virtio-mem device has no number
    assert.deepEqual(
      idsOf(await infoOf(vmm)).filter((id) => /[678]$/.test(id)),
      ['_disk6', '_net7', '_pmem8'],
    );
    for (const id of ['__rng', '__balloon', 'mem0', '_virtio-pci-__console'])
      assertStatus(await vmm.put('vm.remove-device', { id }), 400);
    assertStatus(await vmm.put('vm.remove-device', { id: '_rng' }), 404);
    assertStatus(await vmm.put('vm.add-disk', { path, id: '__mine' }), 400);
    assertStatus(await vmm.put('vm.add-disk', { path, id: 'mem0' }), 409);
    assert.deepEqual(problemsOf(V40, ['VmInfo', await infoOf(vmm)], { complete: true }), []);
  });

  await t.test('counters with latencies', async () => {
    await shell.run('dd if=/dev/vda of=/dev/null bs=4k count=64 iflag=direct 2>/dev/null');
    await shell.run('dd if=/dev/zero of=/dev/vda bs=4k count=16 oflag=direct 2>/dev/null');
    const counters = (await vmm.get('vm.counters')).json as Record<string, Record<string, number>>;
    assert.deepEqual(problemsOf(V40, ['u64{}{}', counters]), []);
    assert.deepEqual(await againstDocument(vmm, 'openapi-everything.json', ['VmCounters', counters]), []);
    const names = ['bytes', 'ops', 'latency_min', 'latency_max', 'latency_avg'];
    assert.deepEqual(
      Object.keys(counters['_disk0'] ?? {}).toSorted(),
      ['read', 'write'].flatMap((kind) => names.map((name) => `${kind}_${name}`)).toSorted(),
    );
    // a read-only disk is never written; the counters of a vhost-user disk are those of its back-end
    assert.equal(counters['mine']?.['write_latency_max'], 0);
    assert.ok(!('_disk1' in counters));
    for (const kind of ['read', 'write']) {
      const [min, avg, max] = ['min', 'avg', 'max'].map(
        (name) => counters['_disk0']?.[`${kind}_latency_${name}`] ?? -1,
      ) as [number, number, number];
      assert.ok(0 < avg && 0 <= min && min <= avg && avg <= max, `${kind}: ${min} ${avg} ${max}`);
      // more than ten seconds for 4 KiB is no latency of a disk
      assert.ok(max < 10_000_000, `${kind}: ${max}`);
    }
  });

  await t.test('after vm.shutdown, vm.boot and vm.create', async () => {
    const ids = idsOf(await infoOf(vmm)).toSorted();
    assertStatus(await vmm.put('vm.shutdown'), 204);
    const { config: kept } = await infoOf(vmm);
    assert.deepEqual(problemsOf(V40, ['VmConfig', kept], { complete: true }), []);
    // the back-end exits with its front-end
    await using _again = startFsBackend(at('fs'), at('folder'));
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.deepEqual(idsOf(await infoOf(vmm)).toSorted(), ids);
    // the configuration of vm.info can be sent again
    assertStatus(await vmm.put('vm.delete'), 204);
    assertStatus(await vmm.put('vm.create', kept), 204);
    assert.deepEqual((await infoOf(vmm)).config, kept);
  });
});

test('with `kernel`: answers of the contract', async (t) => {
  await using vmm = await startVmm();
  const at = (name: string): string => join(vmm.folder, name);
  mkdirSync(at('folder'));
  await using _blk = startBlockBackend(at('blk'), image(vmm, 'served.raw'));
  await using _fs = startFsBackend(at('fs'), at('folder'));
  // members of later clients that have no effect
  const idle = { pvpanic: false, debug_console: { mode: 'Off' } };
  const config = { ...FORMS.kernel, ...devices(vmm, at), ...idle, numa };
  const served = { ...zones(true), shared: true };
  const refused = await vmm.put('vm.create', { ...config, memory: zones(true) });
  assertRefused(refused, 400, /requires using shared memory/);
  const disks = (config as unknown as { disks: object[] }).disks.map((disk) => ({ ...disk, pci_segment: 0 }));
  using shell = await bootWith(vmm, { ...config, disks, memory: served });
  const info = await infoOf(vmm);

  await t.test('names, structs and document', async () => {
    const fixed = ['_ioapic', '_serial', '_console', '_rng', '_balloon', '_watchdog', '_iommu', 'mine'];
    const numbered = ['_disk0', '_disk1', '_net2', '_fs3', '_pmem4', '_vsock5', '_mem6'];
    assert.deepEqual(idsOf(info).toSorted(), [...fixed, ...numbered].toSorted());
    assert.deepEqual(problemsOf(V17, ['VmInfo', info], { complete: true }), []);
    // the document requires members that a vhost-user disk lacks
    const pathless = 'VmInfo.config.disks[2].path: is missing';
    assert.deepEqual(await againstDocument(vmm, 'openapi.json', ['VmInfo', info]), [pathless]);
    assert.deepEqual(placesOf(info, AFTER_V17), []);
  });

  await t.test('vm.add-disk, vm.counters, vm.remove-device', async () => {
    const added = await vmm.put('vm.add-disk', { path: image(vmm, 'added.raw'), pci_segment: 0 });
    assert.deepEqual(problemsOf(V17, ['PciDeviceInfo', added.json]), []);
    assert.equal(addedDevice(added).id, '_disk7');
    await shell.run('dd if=/dev/vda of=/dev/null bs=4k count=4 iflag=direct 2>/dev/null');
    const counters = (await vmm.get('vm.counters')).json as Record<string, Record<string, number>>;
    const names = ['read_bytes', 'write_bytes', 'read_ops', 'write_ops'];
    assert.deepEqual(Object.keys(counters['_disk0'] ?? {}), names);
    assert.deepEqual(await againstDocument(vmm, 'openapi.json', ['VmCounters', counters]), []);
    assertStatus(await vmm.put('vm.remove-device', { id: '__rng' }), 404);
    assertStatus(await vmm.put('vm.remove-device', { id: '_rng' }), 400);
    assert.deepEqual(placesOf(await infoOf(vmm), AFTER_V17), []);
  });

  await t.test('a VM that is not booted cannot be resized', async () => {
    assertStatus(await vmm.put('vm.shutdown'), 204);
    assertStatus(await vmm.put('vm.resize', { desired_vcpus: 2 }), 405);
    assertStatus(await vmm.put('vm.resize-zone', { id: 'low', desired_ram: 512 * MIB }), 405);
  });
});

/** Members that no machine of the tests has, or that change nothing in it: a configuration that is never booted. */
const RARE = {
  cpus: {
    boot_vcpus: 2,
    max_vcpus: 4,
    max_phys_bits: 40,
    affinity: [{ vcpu: 1, host_cpus: [0, 2] }],
    features: { amx: true },
    nested: false,
  },
  memory: {
    size: 0,
    hugepages: true,
    hugepage_size: 2 * MIB,
    mergeable: true,
    reserve: true,
    hotplug_method: 'virtio-mem',
    zones: [
      { id: 'a', size: 512 * MIB, file: '/z', host_numa_node: 0, hotplug_size: 512 * MIB, prefault: true },
      { id: 'b', size: 512 * MIB, hugepages: true, hugepage_size: 2 * MIB, mergeable: true, shared: true },
    ],
  },
  rate_limit_groups: [{ id: 'g' }, { id: 'h', rate_limiter_config: { ops: { size: 1, refill_time: 2 } } }],
  disks: [
    {
      path: '/d',
      serial: 'S',
      rate_limit_group: 'g',
      queue_affinity: [{ queue_index: 0, host_cpus: [1] }],
      lock_granularity: 'Full',
      image_type: 'Vhdx',
      backing_files: true,
      sparse: false,
      pci_device_id: 9,
    },
    { path: '/e', rate_limiter_config: { bandwidth: { size: 1, one_time_burst: 3, refill_time: 2 } } },
    { vhost_user: true, vhost_socket: '/s', disable_io_uring: true, disable_aio: true },
  ],
  net: [
    { tap: 't', mac: '2e:00:00:00:00:01', host_mac: '2E:00:00:00:00:02', mtu: 1500, offload_tso: false },
    { mac: '2e:00:00:00:00:03', vhost_user: true, vhost_socket: '/n', vhost_mode: 'Server', num_queues: 4 },
    // its address is generated with the VM
    { rate_limiter_config: { bandwidth: null, ops: null } },
  ],
  rng: { src: '/r', iommu: true },
  balloon: { size: 0, deflate_on_oom: true, free_page_reporting: true },
  fs: [{ tag: 't', socket: '/f', num_queues: 2, queue_size: 512, dax: false }],
  pmem: [{ file: '/p', size: 2 * MIB, discard_writes: true, mergeable: true }],
  serial: { mode: 'Socket', socket: '/serial' },
  console: { mode: 'File', file: '/console' },
  debug_console: { mode: 'Pty', iobase: 0x402 },
  devices: [{ path: '/sys/bus/pci/devices/0000:00:1f.7', x_nv_gpudirect_clique: 1 }],
  vsock: { cid: 2 ** 32 - 2, socket: '/v', iommu: true },
  numa: [
    { guest_numa_id: 0, cpus: [0, 1], memory_zones: ['a'], pci_segments: [0] },
    { guest_numa_id: 1, cpus: [2], memory_zones: ['b'], distances: [{ destination: 0, distance: 20 }] },
  ],
  watchdog: true,
  platform: { num_pci_segments: 2, uuid: '0f0e0d0c-0b0a-0908-0706-050403020100', oem_strings: ['x'] },
  pci_segments: [{ pci_segment: 1, mmio32_aperture_weight: 2 }],
  tpm: { socket: '/t' },
  landlock_enable: false,
  landlock_rules: [{ path: '/l', access: 'r' }],
};

test('every member of a configuration is answered in the type of its release', async () => {
  await using vmm = await startVmm();
  for (const payload of [{ kernel: '/k', cmdline: 'a' }, { firmware: '/f' }]) {
    assertStatus(await vmm.put('vm.create', { payload, ...RARE }), 204);
    const { config } = await infoOf(vmm);
    assert.deepEqual(problemsOf(V40, ['VmConfig', config], { complete: true }), []);
    assert.deepEqual(problemsOf(V53, ['VmConfig', config]), []);
    assert.deepEqual(await againstDocument(vmm, 'openapi-everything.json', ['VmConfig', config]), []);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  const { debug_console: _d, serial: _s, platform: _p, pci_segments: _g, ...rest } = RARE;
  const memory = { ...RARE.memory, shared: true };
  const kernel = { kernel: { path: '/k' }, ...rest, memory };
  assertStatus(await vmm.put('vm.create', kernel), 204);
  const { config } = await infoOf(vmm);
  assert.deepEqual(problemsOf(V17, ['VmConfig', config], { complete: true }), []);
  assert.deepEqual(placesOf(config, AFTER_V17), ['.cpus.features']);
});

/** A VM whose RAM grows by virtio-mem, in one form. */
const growing = (form: keyof typeof FORMS) => ({
  ...FORMS[form],
  serial: { mode: 'Pty' },
  console: { mode: 'Off' },
  memory: { size: 192 * MIB, hotplug_method: 'VirtioMem', hotplug_size: 512 * MIB },
  balloon: { size: 0 },
});

/** Makes the guest's RAM 128 MiB larger, and checks it in the guest. */
async function grows(vmm: TestVmm, shell: Shell): Promise<void> {
  const total = async (): Promise<number> =>
    Number(await shell.run('read _ kib _ </proc/meminfo; echo $kib'));
  const before = await total();
  const { memory } = (await vmm.client.call('vm.info')).config;
  const desired = memory.size + (memory.hotplugged_size ?? 0) + 128 * MIB;
  assertStatus(await vmm.put('vm.resize', { desired_ram: desired }), 204);
  await until('the guest has the RAM', async () => (await total()) > before + 100_000);
}

test('a snapshot is restored in the dialect of its configuration, also an edited one', async () => {
  await using vmm = await startVmm();
  const CHAIN = [
    { form: 'kernel', ids: ['_ioapic', '_serial', '_rng', '_mem0', '_balloon'] },
    { form: 'payload', ids: ['__ioapic', '__serial', '__rng', 'mem0', '__balloon'] },
    { form: 'payload', ids: ['__ioapic', '__serial', '__rng', 'mem0', '__balloon'] },
    { form: 'kernel', ids: ['_ioapic', '_serial', '_rng', '_mem0', '_balloon'] },
  ] as const;
  let folder = '';
  for (const [i, { form, ids }] of CHAIN.entries()) {
    using shell = await (i === 0 ? bootWith(vmm, growing(form)) : restoreAs(vmm, folder, form));
    const info = await infoOf(vmm);
    assert.deepEqual(idsOf(info), ids, `${i}`);
    assert.equal('payload' in info.config, form === 'payload');
    await grows(vmm, shell);
    if (i === CHAIN.length - 1) break;
    folder = join(vmm.folder, `snapshot-${i}`);
    await takeSnapshot(vmm, folder);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  // a boot names devices by the dialect alone
  assertStatus(await vmm.put('vm.reboot'), 204);
  assert.deepEqual(idsOf(await infoOf(vmm)), CHAIN[0].ids);
});

function readJson(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
}

async function restoreAs(vmm: TestVmm, folder: string, form: keyof typeof FORMS): Promise<Shell> {
  const path = join(folder, 'config.json');
  const { payload: _p, kernel: _k, initramfs: _i, cmdline: _c, ...rest } = readJson(path);
  writeFileSync(path, JSON.stringify({ ...rest, ...FORMS[form] }));
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}`, resume: true }), 204);
  return openShell(await ptyOf(vmm));
}

test('with `payload`: vm.resize before the boot, and a migration, which ends the source', async () => {
  await using source = await startVmm();
  await using destination = await startVmm();
  const config = {
    ...FORMS.payload,
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
    memory: { size: 256 * MIB },
    balloon: { size: 0 },
    serial: { mode: 'Pty' },
    console: { mode: 'Off' },
  };
  assertStatus(await source.put('vm.create', config), 204);
  const sizes = { desired_vcpus: 2, desired_ram: 192 * MIB, desired_balloon: MIB };
  assertStatus(await source.put('vm.resize', sizes), 204);
  const resized = async (): Promise<unknown[]> => {
    const { cpus, memory, balloon } = (await source.client.call('vm.info')).config;
    return [cpus.boot_vcpus, memory.size, balloon?.size];
  };
  assert.deepEqual(await resized(), [2, 192 * MIB, MIB]);
  for (const bad of [{ desired_vcpus: 3 }, { desired_ram: 1000 }, { desired_balloon: 512 * MIB }])
    assertStatus(await source.put('vm.resize', { desired_vcpus: 1, ...bad }), 400);
  assertStatus(await source.put('vm.resize-zone', { id: 'mem0', desired_ram: 256 * MIB }), 400);
  assertStatus(await source.put('vm.resize-disk', { id: '_disk0', desired_size: 512 }), 405);
  assert.deepEqual(await resized(), [2, 192 * MIB, MIB]);

  assertStatus(await source.put('vm.boot'), 204);
  using shell = await login(source);
  assert.equal(await shell.run('grep -c ^processor /proc/cpuinfo'), '2');
  const before = idsOf(await infoOf(source));

  const url = `unix:${join(destination.folder, 'migration')}`;
  const receiving = destination.put('vm.receive-migration', { receiver_url: url });
  await until('the destination waits', () => destination.output().includes(`${url}: waiting for a VM`));
  assertStatus(await source.put('vm.send-migration', { destination_url: url }), 204);
  assertStatus(await receiving, 204);
  assert.equal(await source.exited, 0);
  const info = await infoOf(destination);
  assert.deepEqual(idsOf(info), before);
  assert.deepEqual(problemsOf(V40, ['VmInfo', info], { complete: true }), []);
  using moved = openShell(await ptyOf(destination));
  assert.equal(await moved.run('grep -c ^processor /proc/cpuinfo'), '2');
});
