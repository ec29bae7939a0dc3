// Hot-plug and hot-unplug of devices, observed in the guest, in vm.info and on the host.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addedDevice, type Answer, assertRefused, assertStatus } from './support/answers.ts';
import { boot, createAndBoot } from './support/boot.ts';
import { nodeRam } from './support/guest-ram.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { descriptorsOf, qemuOf } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { countersOf, infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

/** Hot-plugs and hot-unplugs of one device in one run of a VM. */
const ROUNDS = 200;

const TAP = 'nephos-hp0';
const MAC = '12:34:56:78:90:ab';

function image(vmm: TestVmm, name: string, mib = 16): string {
  const path = join(vmm.folder, name);
  makeImage(path, mib * MIB, `image ${name}`);
  return path;
}

const slots = (shell: Shell): Promise<string> => shell.run('ls /sys/bus/pci/devices | tr "\\n" " "');
const hasDevice = async (shell: Shell, bdf: string): Promise<boolean> => (await slots(shell)).includes(bdf);

async function untilRemoved(vmm: TestVmm, id: string): Promise<void> {
  const carrier = `_virtio-pci-${id}`;
  await until(
    `${id} is removed`,
    async () => !(carrier in ((await infoOf(vmm)).device_tree ?? {})),
    vmm.output,
  );
}

test('a hot-plugged disk, also of a paused VM, after reboots, and its removal', async (t) => {
  await using vmm = await startVmm();
  const [first, second] = [image(vmm, 'a, "b" é.raw'), image(vmm, 'second.raw', 24)];
  using shell = await boot(vmm);
  const before = await slots(shell);

  await t.test('the answer has id and PCI address', async () => {
    const added = await vmm.put('vm.add-disk', { path: first, id: 'my disk' });
    assertStatus(added, 200);
    assert.deepEqual(added.json, { id: 'my disk', bdf: '0000:00:03.0' });
  });
  await until('the guest has it', () => hasDevice(shell, '0000:00:03.0'));
  await shell.run('until [ -b /dev/vda ]; do :; done');
  await t.test('the guest has a disk of its size and contents in the slot of the answer', async () => {
    assert.equal(await shell.run('cat /sys/block/vda/size'), String((16 * MIB) / 512));
    assert.match(await shell.run('readlink -f /sys/block/vda'), /0000:00:03\.0/);
    assert.equal(await shell.run('head -c 12 /dev/vda'), 'image a, "b"');
  });
  await t.test('vm.info and vm.counters show the disk', async () => {
    assert.deepEqual((await infoOf(vmm)).config.disks?.[0]?.id, 'my disk');
    assert.ok('my disk' in (await countersOf(vmm)));
  });

  await t.test('an id in use is refused with 409', async () => {
    assertStatus(await vmm.put('vm.add-disk', { path: second, id: 'my disk' }), 409);
  });
  await t.test('refused disks change neither vm.info nor the files that QEMU has open', async () => {
    const info = (await vmm.get('vm.info')).json;
    const open = descriptorsOf(qemuOf(vmm.pid));
    assertStatus(await vmm.put('vm.add-disk', { path: first }), 500);
    assertStatus(await vmm.put('vm.add-disk', { path: join(vmm.folder, 'none') }), 500);
    assertStatus(await vmm.put('vm.add-disk', { path: second, num_queues: 9 }), 400);
    assert.deepEqual((await vmm.get('vm.info')).json, info);
    assert.deepEqual(descriptorsOf(qemuOf(vmm.pid)), open);
  });

  await t.test('a disk that is added to a paused VM is in the guest after vm.resume', async () => {
    assertStatus(await vmm.put('vm.pause'), 204);
    assert.deepEqual((await vmm.put('vm.add-disk', { path: second })).json, {
      id: '_disk0',
      bdf: '0000:00:04.0',
    });
    assertStatus(await vmm.put('vm.resume'), 204);
    await until('the guest has the second', () => hasDevice(shell, '0000:00:04.0'));
  });

  for (const [name, restart] of [
    ['vm.reboot', () => vmm.put('vm.reboot')],
    ['a reset by the guest', async () => shell.type('reboot\r')],
  ] as const) {
    await restart();
    await shell.login();
    await t.test(`both disks are there after ${name}`, async () => {
      assert.equal(
        await shell.run('cat /sys/block/vda/size /sys/block/vdb/size | tr "\\n" " "'),
        `${(16 * MIB) / 512} ${(24 * MIB) / 512}`,
      );
    });
  }

  await t.test('both can be removed, by id and by the id of the PCI function', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: '_virtio-pci-my disk' }), 204);
    await untilRemoved(vmm, 'my disk');
    assertStatus(await vmm.put('vm.remove-device', { id: '_disk0' }), 204);
    await untilRemoved(vmm, '_disk0');
    // at the reboot the disks were placed before the rng device, as at every boot
    assert.equal(await slots(shell), before.replace('02.0', '04.0'));
    assert.equal(await shell.run('ls -d /sys/block/vd* 2>/dev/null'), '');
    assert.equal(JSON.stringify((await infoOf(vmm)).config).includes(second), false);
  });
  await t.test('file and slot of a removed disk are free again', async () => {
    // a number is used once per boot, and the reboot was a new boot
    for (const id of ['_disk0', '_disk1']) {
      assert.deepEqual((await vmm.put('vm.add-disk', { path: second })).json, { id, bdf: '0000:00:02.0' });
      await until('the guest has it', () => hasDevice(shell, '0000:00:02.0'));
      assertStatus(await vmm.put('vm.remove-device', { id }), 204);
      await untilRemoved(vmm, id);
    }
  });
});

test('vm.add-disk and vm.remove-device before the first boot', async (t) => {
  await using vmm = await startVmm();
  await t.test('without a VM vm.remove-device is 404', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: 'a' }), 404);
  });
  assertStatus(await vmm.put('vm.create', guestConfig()), 204);
  await t.test('vm.add-disk is answered 204 without a body', async () => {
    const answer = await vmm.put('vm.add-disk', { path: image(vmm, 'a.raw'), id: 'a' });
    assert.deepEqual(answer, { status: 204, json: undefined });
  });
  await t.test('an id in use is refused with 409', async () => {
    assertStatus(await vmm.put('vm.add-disk', { path: '/b', id: 'a' }), 409);
  });
  await t.test('a disk can be removed once', async () => {
    assertStatus(await vmm.put('vm.add-disk', { path: '/b', id: 'b' }), 204);
    assertStatus(await vmm.put('vm.remove-device', { id: 'b' }), 204);
    assertStatus(await vmm.put('vm.remove-device', { id: 'b' }), 404);
  });
  await t.test('vm.info shows the remaining disk', async () => {
    const { disks } = (await infoOf(vmm)).config;
    assert.deepEqual(
      disks?.map(({ id }) => id),
      ['a'],
    );
  });
  await t.test('the VM boots with it', async () => {
    assertStatus(await vmm.put('vm.boot'), 204);
    assert.ok('a' in ((await infoOf(vmm)).device_tree ?? {}));
  });
});

test('vm.remove-device of devices that cannot be removed, and of unknown ones', async (t) => {
  await using vmm = await startVmm();
  await createAndBoot(vmm, guestConfig({ console: { mode: 'Null' } }));
  const info = (await vmm.get('vm.info')).json;
  await t.test('devices of the machine itself are refused with 400', async () => {
    for (const id of ['_rng', '_console', '_serial', '_virtio-pci-_rng']) {
      assertStatus(await vmm.put('vm.remove-device', { id }), 400);
    }
  });
  await t.test('unknown ids are refused with 404', async () => {
    for (const id of ['nobody', '_ioapic', '']) assertStatus(await vmm.put('vm.remove-device', { id }), 404);
  });
  await t.test('vm.info is unchanged', async () => {
    assert.deepEqual((await vmm.get('vm.info')).json, info);
  });
});

test('a device that the guest does not release stays until the next boot', async (t) => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm, { cmdline: { args: 'console=ttyS0 acpiphp.disable=1' } });
  const path = image(vmm, 'kept.raw', 1);
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'kept' }), 200);
  for (let i = 0; i < 2; i++) assertStatus(await vmm.put('vm.remove-device', { id: 'kept' }), 204);
  await t.test('vm.info shows it in configuration and device tree', async () => {
    const { config, device_tree: tree = {} } = await infoOf(vmm);
    assert.ok(JSON.stringify(config).includes('kept'));
    assert.ok('kept' in tree);
  });
  const reason = 'disk kept was removed, and the guest has not released it yet';
  await t.test('its id is refused with 409', async () => {
    const taken = await vmm.put('vm.add-disk', { path: image(vmm, 'other.raw', 1), id: 'kept' });
    assertRefused(taken, 409, `is taken: ${reason}`);
  });
  await t.test('its file is refused with 500', async () => {
    const used = await vmm.put('vm.add-disk', { path });
    assertRefused(used, 500, new RegExp(`is in use by another device: ${reason}`));
  });
  await t.test('after a reboot it is removed, and its id and file are free', async () => {
    assertStatus(await vmm.put('vm.reboot'), 204);
    assert.ok(!JSON.stringify(await infoOf(vmm)).includes('kept'));
    assertStatus(await vmm.put('vm.add-disk', { path, id: 'kept' }), 200);
  });
});

test('a hot-plugged network, pmem and vsock in a guest with NUMA nodes and a vIOMMU', async (t) => {
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
    // QEMU before 10.0.4 may abort where a vCPU initializes a device while another places the next one
    await until(
      'a driver has the device',
      async () => Number(await drivers()) === drivenBefore + added.length,
    );
  }
  await t.test('the answers have ids and PCI addresses', () => {
    assert.deepEqual(
      added.map(({ json }) => json),
      [
        { id: '_net0', bdf: '0000:00:04.0' },
        { id: '_pmem1', bdf: '0000:00:05.0' },
        { id: '_vsock2', bdf: '0000:00:06.0' },
      ],
    );
  });
  await t.test('a second vsock is refused with 400', async () => {
    assertStatus(await vmm.put('vm.add-vsock', { cid: 6, socket: `${socket}2` }), 400);
  });
  const equipped = async (): Promise<void> => {
    await shell.run('modprobe -a virtio_net virtio_pmem nd_pmem vmw_vsock_virtio_transport');
    const seen = 'until [ -b /dev/pmem0 ] && [ -e /sys/class/net/eth0 ]; do :; done';
    await shell.run(seen);
    assert.equal(await shell.run('cat /sys/block/pmem0/size'), String((128 * MIB) / 512));
    assert.equal(await shell.run('cat /sys/class/net/eth0/address'), MAC);
    assert.match(await shell.run('cat /sys/bus/virtio/devices/*/device'), /0x0013/);
  };
  await t.test('the guest has all three', equipped);
  await t.test('vm.counters show the network', async () => {
    assert.ok('_net0' in (await countersOf(vmm)));
  });

  await t.test('a hot-plugged DIMM is in the node of the RAM', async () => {
    const inNode1 = async (): Promise<number> => (await nodeRam(shell))[1] ?? 0;
    const before = await inNode1();
    assertStatus(await vmm.put('vm.resize', { desired_ram: 768 * MIB }), 204);
    await until('node 1 has more', async () => (await inNode1()) > before + 200, shell.shown);
  });

  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await t.test('the guest has all three after a reboot', equipped);
  await t.test('a removed network leaves no TAP', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: '_net0' }), 204);
    await untilRemoved(vmm, '_net0');
    assert.ok(!existsSync(`/sys/class/net/${TAP}`));
  });
  await t.test('a removed vsock leaves no socket', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: '_vsock2' }), 204);
    await untilRemoved(vmm, '_vsock2');
    assert.ok(!existsSync(socket));
  });
  await t.test('pmem cannot be removed: QEMU has no hot-unplug for it', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: '_pmem1' }), 400);
  });
});

test('hot-plug into every slot of the bus', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const path = image(vmm, 'shared.raw', 1);
  const before = await slots(shell);
  // slot 2 has the rng device
  const all = Array.from({ length: 29 }, (_, i) => `0000:00:${(i + 3).toString(16).padStart(2, '0')}.0`);
  const answers = await Promise.all(all.map(() => vmm.put('vm.add-disk', { path, readonly: true })));
  await t.test('29 requests at once get 29 slots, in any order', () => {
    assert.deepEqual(answers.map((answer) => addedDevice(answer).bdf).toSorted(), all);
  });
  await until('the guest has them all', async () => {
    const seen = await slots(shell);
    return all.every((bdf) => seen.includes(bdf));
  });
  await until(
    'each has its disk',
    async () => (await shell.run('ls -d /sys/block/vd* | wc -l')) === '29',
    shell.shown,
  );
  // vm.info does not wait for a slow answer of QEMU
  await until('vm.info shows the address ranges of each', async () => {
    const { device_tree: tree } = await infoOf(vmm);
    return all.every((_, i) => tree?.[`_virtio-pci-_disk${i}`]?.resources.length === 2);
  });
  await t.test('one more device is refused, and vm.info is unchanged', async () => {
    const info = (await vmm.get('vm.info')).json;
    const refused = await vmm.put('vm.add-disk', { path, readonly: true });
    assertRefused(refused, 500, /no PCI slot is free/);
    assert.deepEqual((await vmm.get('vm.info')).json, info);
  });
  await t.test('all can be removed', async () => {
    for (let i = 0; i < 29; i++) assertStatus(await vmm.put('vm.remove-device', { id: `_disk${i}` }), 204);
    for (let i = 0; i < 29; i++) await untilRemoved(vmm, `_disk${i}`);
    assert.equal(await slots(shell), before);
  });
});

test(`${ROUNDS} hot-plugs and hot-unplugs leave no file descriptor and the same vm.info`, async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const path = image(vmm, 'again.raw', 1);
  const round = async (): Promise<void> => {
    const { id, bdf } = addedDevice(await vmm.put('vm.add-disk', { path }));
    assert.equal(bdf, '0000:00:03.0');
    await until('the guest has it', () => hasDevice(shell, bdf));
    assertStatus(await vmm.put('vm.remove-device', { id }), 204);
    await untilRemoved(vmm, id);
  };
  await round();
  const qemu = qemuOf(vmm.pid);
  const open = [descriptorsOf(vmm.pid).length, descriptorsOf(qemu).length];
  const info = (await vmm.get('vm.info')).json;
  for (let i = 0; i < ROUNDS; i++) await round();
  assert.deepEqual((await vmm.get('vm.info')).json, info);
  await until('no descriptor is open that was not before', () => {
    const now = [descriptorsOf(vmm.pid).length, descriptorsOf(qemu).length];
    return now.every((count, i) => count <= (open[i] ?? 0));
  });
  assert.equal(await shell.run('ls -d /sys/block/vd* 2>/dev/null'), '');
});
