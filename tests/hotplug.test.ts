// Devices that come and go while a guest runs, seen in the guest, in vm.info and on the host.
import assert from 'node:assert/strict';
import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { boot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf, qemuOf } from './support/processes.ts';
import { infoOf } from './support/vm-info.ts';
import { type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, startVmm, type Answer, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;

/** How often a device comes and goes in one life of a VM. */
const ROUNDS = 200;

const TAP = 'nephos-hp0';
const MAC = '12:34:56:78:90:ab';

function image(vmm: TestVmm, name: string, mib = 16): string {
  const path = join(vmm.folder, name);
  writeFileSync(path, `image ${name}`);
  truncateSync(path, mib * MIB);
  return path;
}

const slots = (shell: Shell): Promise<string> => shell.run('ls /sys/bus/pci/devices | tr "\\n" " "');
const hasDevice = async (shell: Shell, bdf: string): Promise<boolean> => (await slots(shell)).includes(bdf);

async function gone(vmm: TestVmm, id: string): Promise<void> {
  const carrier = `_virtio-pci-${id}`;
  await until(`${id} is gone`, async () => !(carrier in ((await infoOf(vmm)).device_tree ?? {})), vmm.output);
}

test('a disk comes, survives reboot and reset, goes, and leaves its slot and file to the next', async () => {
  await using vmm = await startVmm();
  const [first, second] = [image(vmm, 'a, "b" é.raw'), image(vmm, 'second.raw', 24)];
  using shell = await boot(vmm);
  const before = await slots(shell);

  const added = await vmm.put('vm.add-disk', { path: first, id: 'my disk' });
  assertStatus(added, 200);
  assert.deepEqual(added.json, { id: 'my disk', bdf: '0000:00:03.0' });
  await until('the guest has it', () => hasDevice(shell, '0000:00:03.0'));
  await shell.run('until [ -b /dev/vda ]; do :; done');
  assert.equal(await shell.run('cat /sys/block/vda/size'), String((16 * MIB) / 512));
  assert.match(await shell.run('readlink -f /sys/block/vda'), /0000:00:03\.0/);
  assert.equal(await shell.run('head -c 12 /dev/vda'), 'image a, "b"');
  assert.deepEqual(((await infoOf(vmm)).config as { disks?: { id: string }[] }).disks?.[0]?.id, 'my disk');
  assert.ok('my disk' in ((await vmm.get('vm.counters')).json as object));

  // another may not take its id, and the file is locked
  assertStatus(await vmm.put('vm.add-disk', { path: second, id: 'my disk' }), 409);
  const info = (await vmm.get('vm.info')).json;
  const open = descriptorsOf(qemuOf(vmm.pid));
  assertStatus(await vmm.put('vm.add-disk', { path: first }), 500);
  assertStatus(await vmm.put('vm.add-disk', { path: join(vmm.folder, 'none') }), 500);
  assertStatus(await vmm.put('vm.add-disk', { path: second, num_queues: 9 }), 400);
  assert.deepEqual((await vmm.get('vm.info')).json, info);
  assert.deepEqual(descriptorsOf(qemuOf(vmm.pid)), open);

  // a paused guest gets it when it goes on
  assertStatus(await vmm.put('vm.pause'), 204);
  assert.deepEqual((await vmm.put('vm.add-disk', { path: second })).json, {
    id: '_disk0',
    bdf: '0000:00:04.0',
  });
  assertStatus(await vmm.put('vm.resume'), 204);
  await until('the guest has the second', () => hasDevice(shell, '0000:00:04.0'));

  for (const restart of [() => vmm.put('vm.reboot'), async () => shell.type('reboot\r')]) {
    await restart();
    await shell.login();
    assert.equal(
      await shell.run('cat /sys/block/vda/size /sys/block/vdb/size | tr "\\n" " "'),
      `${(16 * MIB) / 512} ${(24 * MIB) / 512}`,
    );
  }

  assertStatus(await vmm.put('vm.remove-device', { id: '_virtio-pci-my disk' }), 204);
  await gone(vmm, 'my disk');
  assertStatus(await vmm.put('vm.remove-device', { id: '_disk0' }), 204);
  await gone(vmm, '_disk0');
  // at the reboot the disks got their places before the source of entropy, as at every boot
  assert.equal(await slots(shell), before.replace('02.0', '04.0'));
  assert.equal(await shell.run('ls -d /sys/block/vd* 2>/dev/null'), '');
  assert.equal(JSON.stringify((await infoOf(vmm)).config).includes(second), false);
  // its file and its slot are free again; a number is used once in a run, and the reboot began a new one
  for (const id of ['_disk0', '_disk1']) {
    assert.deepEqual((await vmm.put('vm.add-disk', { path: second })).json, { id, bdf: '0000:00:02.0' });
    await until('the guest has it', () => hasDevice(shell, '0000:00:02.0'));
    assertStatus(await vmm.put('vm.remove-device', { id }), 204);
    await gone(vmm, id);
  }
});

test('before the first boot devices join and leave the configuration', async () => {
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.remove-device', { id: 'a' }), 404);
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  const answer = await vmm.put('vm.add-disk', { path: image(vmm, 'a.raw'), id: 'a' });
  assert.deepEqual(answer, { status: 204, json: undefined });
  assertStatus(await vmm.put('vm.add-disk', { path: '/b', id: 'a' }), 409);
  assertStatus(await vmm.put('vm.add-disk', { path: '/b', id: 'b' }), 204);
  assertStatus(await vmm.put('vm.remove-device', { id: 'b' }), 204);
  assertStatus(await vmm.put('vm.remove-device', { id: 'b' }), 404);
  const { disks } = (await infoOf(vmm)).config as { disks?: { id: string }[] };
  assert.deepEqual(
    disks?.map(({ id }) => id),
    ['a'],
  );
  assertStatus(await vmm.put('vm.boot'), 204);
  assert.ok('a' in ((await infoOf(vmm)).device_tree ?? {}));
});

test('what every machine keeps cannot be removed, and an unknown name is unknown', async () => {
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.create', guestConfig({ console: { mode: 'Null' } })), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const info = (await vmm.get('vm.info')).json;
  for (const id of ['_rng', '_console', '_serial', '_virtio-pci-_rng']) {
    assertStatus(await vmm.put('vm.remove-device', { id }), 400);
  }
  for (const id of ['nobody', '_ioapic', '']) assertStatus(await vmm.put('vm.remove-device', { id }), 404);
  assert.deepEqual((await vmm.get('vm.info')).json, info);
});

test('a device that the guest never lets go stays marked as leaving until the next life', async () => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm, { cmdline: { args: 'console=ttyS0 acpiphp.disable=1' } });
  const path = image(vmm, 'kept.raw', 1);
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'kept' }), 200);
  for (let i = 0; i < 2; i++) assertStatus(await vmm.put('vm.remove-device', { id: 'kept' }), 204);
  const { config, device_tree: tree = {} } = await infoOf(vmm);
  // it is in the machine, and vm.info says so in both places
  assert.ok(JSON.stringify(config).includes('kept'));
  assert.ok('kept' in tree);
  // its id and its file are not free yet
  const taken = await vmm.put('vm.add-disk', { path: image(vmm, 'other.raw', 1), id: 'kept' });
  assertStatus(taken, 409);
  const reason = 'disk kept was removed, and the guest has not released it yet';
  assert.match(JSON.stringify(taken.json), new RegExp(`is taken: ${reason}`));
  const used = await vmm.put('vm.add-disk', { path });
  assertStatus(used, 500);
  assert.match(JSON.stringify(used.json), new RegExp(`is in use by another device: ${reason}`));
  assertStatus(await vmm.put('vm.reboot'), 204);
  assert.ok(!JSON.stringify(await infoOf(vmm)).includes('kept'));
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'kept' }), 200);
});

test('a network, persistent memory and a vsock come to a guest with NUMA nodes and a vIOMMU, and stay over a reboot', async () => {
  await using vmm = await startVmm();
  const numa = [
    { guest_numa_id: 0, cpus: [0] },
    { guest_numa_id: 1, cpus: [1], memory_zones: ['mem0'] },
  ];
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    memory: { size: 512 * MIB, shared: true, hotplug_size: 512 * MIB },
    numa,
    iommu: true,
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  const socket = join(vmm.folder, 'v, "s" é.sock');
  const requests = [
    ['vm.add-net', { tap: TAP, ip: '192.168.231.1', mac: MAC, iommu: true }],
    ['vm.add-pmem', { file: image(vmm, 'p, m.img', 128) }],
    ['vm.add-vsock', { cid: 5, socket }],
  ] as const;
  const added: Answer[] = [];
  const drivers = (): Promise<string> => shell.run('ls -d /sys/bus/virtio/devices/*/driver | wc -l');
  const drivenBefore = Number(await drivers());
  for (const [path, body] of requests) {
    added.push(await vmm.put(path, body));
    // QEMU before 10.0.4 may abort where one vCPU sets up a device while another gives the next one its addresses
    await until(
      'a driver has the device',
      async () => Number(await drivers()) === drivenBefore + added.length,
    );
  }
  assert.deepEqual(
    added.map(({ json }) => json),
    [
      { id: '_net0', bdf: '0000:00:04.0' },
      { id: '_pmem1', bdf: '0000:00:05.0' },
      { id: '_vsock2', bdf: '0000:00:06.0' },
    ],
  );
  assertStatus(await vmm.put('vm.add-vsock', { cid: 6, socket: `${socket}2` }), 400);
  const equipped = async (): Promise<void> => {
    await shell.run('modprobe -a virtio_net virtio_pmem nd_pmem vmw_vsock_virtio_transport');
    const seen = 'until [ -b /dev/pmem0 ] && [ -e /sys/class/net/eth0 ]; do :; done';
    await shell.run(seen);
    assert.equal(await shell.run('cat /sys/block/pmem0/size'), String((128 * MIB) / 512));
    assert.equal(await shell.run('cat /sys/class/net/eth0/address'), MAC);
    assert.match(await shell.run('cat /sys/bus/virtio/devices/*/device'), /0x0013/);
  };
  await equipped();
  assert.ok('_net0' in ((await vmm.get('vm.counters')).json as object));

  // the DIMM is in the node that the RAM is in
  const inNode = (node: number): Promise<string> =>
    shell.run(`awk '/MemTotal/ { print int($4 / 1024) }' /sys/devices/system/node/node${node}/meminfo`);
  const before = Number(await inNode(1));
  assertStatus(await vmm.put('vm.resize', { desired_ram: 768 * MIB }), 204);
  await until('node 1 has more', async () => Number(await inNode(1)) > before + 200, shell.shown);

  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await equipped();
  assertStatus(await vmm.put('vm.remove-device', { id: '_net0' }), 204);
  await gone(vmm, '_net0');
  assertStatus(await vmm.put('vm.remove-device', { id: '_vsock2' }), 204);
  await gone(vmm, '_vsock2');
  // QEMU keeps it
  assertStatus(await vmm.put('vm.remove-device', { id: '_pmem1' }), 400);
  assert.ok(!existsSync(`/sys/class/net/${TAP}`));
  assert.ok(!existsSync(socket));
});

test('every slot of the bus can be filled at once, and one more is refused', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const path = image(vmm, 'shared.raw', 1);
  const before = await slots(shell);
  // slot 2 has the source of entropy
  const all = Array.from({ length: 29 }, (_, i) => `0000:00:${(i + 3).toString(16).padStart(2, '0')}.0`);
  const answers = await Promise.all(all.map(() => vmm.put('vm.add-disk', { path, readonly: true })));
  // requests of several connections have no order
  assert.deepEqual(answers.map(({ json }) => (json as { bdf: string }).bdf).toSorted(), all);
  await until('the guest has them all', async () => {
    const seen = await slots(shell);
    return all.every((bdf) => seen.includes(bdf));
  });
  await until(
    'each has its disk',
    async () => (await shell.run('ls -d /sys/block/vd* | wc -l')) === '29',
    shell.shown,
  );
  // vm.info does not wait for a QEMU that is slow to tell where the guest has placed a device
  await until('vm.info tells where each is', async () => {
    const tree = (await infoOf(vmm)).device_tree as Record<string, { resources: unknown[] }>;
    return all.every((_, i) => tree[`_virtio-pci-_disk${i}`]?.resources.length === 2);
  });
  const info = (await vmm.get('vm.info')).json;
  const refused = await vmm.put('vm.add-disk', { path, readonly: true });
  assertStatus(refused, 500);
  assert.match(JSON.stringify(refused.json), /no PCI slot is free/);
  assert.deepEqual((await vmm.get('vm.info')).json, info);
  for (let i = 0; i < 29; i++) assertStatus(await vmm.put('vm.remove-device', { id: `_disk${i}` }), 204);
  for (let i = 0; i < 29; i++) await gone(vmm, `_disk${i}`);
  assert.equal(await slots(shell), before);
});

test('adding and removing again and again leaves nothing behind', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const path = image(vmm, 'again.raw', 1);
  const round = async (): Promise<void> => {
    const { json } = await vmm.put('vm.add-disk', { path });
    const { id, bdf } = json as { id: string; bdf: string };
    assert.equal(bdf, '0000:00:03.0');
    await until('the guest has it', () => hasDevice(shell, bdf));
    assertStatus(await vmm.put('vm.remove-device', { id }), 204);
    await gone(vmm, id);
  };
  await round();
  const engine = qemuOf(vmm.pid);
  const open = [descriptorsOf(vmm.pid).length, descriptorsOf(engine).length];
  const info = (await vmm.get('vm.info')).json;
  for (let i = 0; i < ROUNDS; i++) await round();
  assert.deepEqual((await vmm.get('vm.info')).json, info);
  await until('no descriptor is open that was not before', () => {
    const now = [descriptorsOf(vmm.pid).length, descriptorsOf(engine).length];
    return now.every((count, i) => count <= (open[i] ?? 0));
  });
  assert.equal(await shell.run('ls -d /sys/block/vd* 2>/dev/null'), '');
});
