// Snapshot and restore of a guest with nearly every device, observed in the guest.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus, messagesOf } from './support/answers.ts';
import { startBlockBackend, startFsBackend, startNetBackend } from './support/backends.ts';
import { boot, createAndBoot, deleteVm } from './support/boot.ts';
import { ramOf } from './support/guest-ram.ts';
import { guestConfig } from './support/guest.ts';
import { interfaceName } from './support/host-network.ts';
import { withHugePages } from './support/huge-pages.ts';
import { makeImage } from './support/images.ts';
import { openShell, type Shell } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { actualSizeOf, infoOf, ptyOf, stateOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
function image(vmm: TestVmm, name: string, mib: number): string {
  const path = join(vmm.folder, name);
  makeImage(path, mib * MIB, `image ${name}`);
  return path;
}

/** Returns true if a virtio device negotiated VIRTIO_F_ACCESS_PLATFORM, bit 33: it is behind the vIOMMU. */
async function isBehindIommu(shell: Shell, vmm: TestVmm, id: string): Promise<boolean> {
  const tree = (await infoOf(vmm)).device_tree as Record<string, { pci_bdf: number } | undefined>;
  const slot = ((tree[`_virtio-pci-${id}`]?.pci_bdf ?? 0) >> 3).toString(16).padStart(2, '0');
  const features = await shell.run(`cat /sys/bus/pci/devices/0000:00:${slot}.0/virtio*/features`);
  return features[33] === '1';
}

test('a restored VM with many devices', async (t) => {
  await using vmm = await startVmm();
  // for two VMs, whose huge pages may overlap in time
  using _pages = withHugePages(64);
  const [tap, other] = [interfaceName(), interfaceName()];
  const network = { tap, ip: '192.168.237.1', mask: '255.255.255.0', mac: '2e:00:00:00:00:01', iommu: true };
  using shell = await boot(vmm, {
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
    memory: {
      size: 0,
      hotplug_method: 'VirtioMem',
      zones: [
        { id: 'a', size: 320 * MIB, hotplug_size: 256 * MIB },
        { id: 'huge', size: 64 * MIB, hugepages: true },
      ],
    },
    iommu: true,
    disks: [{ path: image(vmm, 'front.raw', 4), id: 'front', iommu: true }],
    net: [{ ...network, id: 'net' }],
    balloon: { size: 32 * MIB },
    watchdog: true,
    pvpanic: true,
    ivshmem: { path: image(vmm, 'shared, memory', 1), size: MIB },
  });
  assertStatus(
    await vmm.put('vm.add-disk', { path: image(vmm, 'later.raw', 4), id: 'later', iommu: true }),
    200,
  );
  await shell.run('until [ -b /dev/vdb ]; do :; done; modprobe -a virtio_net virtio_balloon');
  await shell.run('until [ -e /sys/class/net/eth0 ]; do :; done');
  await shell.run(
    'ip addr add 192.168.237.2/24 dev eth0; ip link set eth0 up; watchdog -t 1 -T 10 /dev/watchdog',
  );
  await t.test(
    'before: devices with iommu at boot are behind the vIOMMU, hot-plugged ones are not',
    async () => {
      assert.equal(await isBehindIommu(shell, vmm, 'front'), true);
      assert.equal(await isBehindIommu(shell, vmm, 'later'), false);
    },
  );
  await t.test('before: ivshmem is shared with the host', () => assertSharedMemory(vmm, shell, 'boot'));
  await growZone(vmm, shell, 448 * MIB);

  const path = join(vmm.folder, 'snap');
  await takeSnapshot(vmm, path);
  const { device_tree: tree } = await infoOf(vmm);
  await t.test('guest memory is not in state.json', () => {
    // RAM is in memory-ranges, not among the devices' state
    assert.ok(statSync(join(path, 'state.json')).size < 4 * MIB);
  });
  assertStatus(await vmm.put('vm.delete'), 204);
  await t.test('vm.delete removes the TAP', () => assert.ok(!existsSync(`/sys/class/net/${tap}`)));

  const overrides = { net: [{ id: 'net', tap: other, mac: '2e:00:00:00:00:02' }] };
  const request = { source_url: `file://${path}`, overrides, resume: true };
  assertStatus(await vmm.put('vm.restore', request), 204);
  using again = openShell(await ptyOf(vmm));
  await t.test('vm.info shows the same device tree', async () => {
    assert.deepEqual((await infoOf(vmm)).device_tree, tree);
  });
  await t.test('the network works on the TAP of an override', async () => {
    await again.run('until ping -c 1 -W 1 192.168.237.1 > /dev/null; do :; done');
    assert.ok(existsSync(`/sys/class/net/${other}`) && !existsSync(`/sys/class/net/${tap}`));
  });
  await t.test('the disks have their contents', async () => {
    assert.equal(await again.run('head -c 5 /dev/vda; head -c 5 /dev/vdb'), 'imageimage');
  });
  await t.test('the hot-plugged disk is not behind the vIOMMU', async () => {
    assert.equal(await isBehindIommu(again, vmm, 'later'), false);
  });
  await t.test('the balloon and a virtio-mem zone can be resized', () => assertSizes(vmm, again));
  await t.test('ivshmem is shared with the host', () => assertSharedMemory(vmm, again, 'next'));
  await t.test('a snapshot with pmem behind the vIOMMU is refused, and writes nothing', () =>
    assertPmemUnsaved(vmm),
  );

  const panic = /event=panic/;
  await t.test('a panic is recorded, and the watchdog resets the guest', async () => {
    assert.doesNotMatch(vmm.output(), panic);
    again.type('echo c >/proc/sysrq-trigger\r');
    await until('the panic is told', () => panic.test(vmm.output()), vmm.output);
    await again.login();
    assert.equal(await stateOf(vmm), 'Running');
  });
  await t.test('after the reset the hot-plugged disk is behind the vIOMMU', async () => {
    assert.equal(await isBehindIommu(again, vmm, 'later'), true);
  });
  await t.test('after the reset the network has the MAC address of the override', async () => {
    await again.run('modprobe virtio_net; until [ -e /sys/class/net/eth0 ]; do :; done');
    assert.equal(await again.run('cat /sys/class/net/eth0/address'), '2e:00:00:00:00:02');
  });
});

/** Writes a word of four letters on each side and reads it on the other. */
async function assertSharedMemory(vmm: TestVmm, shell: Shell, word: string): Promise<void> {
  const path = join(vmm.folder, 'shared, memory');
  const device = await shell.run("grep -l 0x1110 /sys/bus/pci/devices/*/device | sed 's,/device$,,'");
  // BAR 2
  const [from] = (await shell.run(`echo 1 >${device}/enable; sed -n 3p ${device}/resource`)).split(' ');
  const hex = `0x${Buffer.from(word).readUInt32LE().toString(16).toUpperCase()}`;
  const file = openSync(path, 'r+');
  writeSync(file, word, 64);
  closeSync(file);
  assert.equal(await shell.run(`devmem $((${from} + 64)) 32`), hex);
  await shell.run(`devmem $((${from} + 128)) 32 ${hex}`);
  assert.equal(readFileSync(path).toString('latin1', 128, 132), word);
}

async function assertSizes(vmm: TestVmm, shell: Shell): Promise<void> {
  assertStatus(await vmm.put('vm.resize', { desired_balloon: 64 * MIB }), 204);
  await until('the balloon has grown', async () => (await actualSizeOf(vmm)) === (448 + 64 - 64) * MIB);
  await growZone(vmm, shell, 576 * MIB);
}

/** Resizes the zone `a` by 128 MiB more, and waits until the guest has them. */
async function growZone(vmm: TestVmm, shell: Shell, bytes: number): Promise<void> {
  const before = await ramOf(shell);
  assertStatus(await vmm.put('vm.resize-zone', { id: 'a', desired_ram: bytes }), 204);
  await until('the guest has more', async () => (await ramOf(shell)) > before + 100, shell.shown);
}

test('devices that cannot be in a snapshot or be sent are named, and nothing is written', async (t) => {
  await using vmm = await startVmm();
  const at = (name: string): string => join(vmm.folder, `a, "b" ${name}`);
  await using _blocks = startBlockBackend(at('disk'), image(vmm, 'served', 4));
  await using _files = startFsBackend(at('fs'), vmm.folder);
  const network = { address: '192.168.238.1', queues: 1 };
  await using _network = startNetBackend('listen', at('net'), network);
  const zone = { id: 'z', size: 128 * MIB, file: image(vmm, 'zone', 128), shared: true };
  const pmem = [{ file: image(vmm, 'lost', 4), discard_writes: true, id: 'lost' }];
  const shared = { path: image(vmm, 'shared, memory', 1), size: MIB };
  const served = 'its vhost-user back-end has state of its own';
  const unsaved: [object, string][] = [
    [{ disks: [{ vhost_user: true, vhost_socket: at('disk') }] }, `disk _disk0: cannot ACTION: ${served}`],
    [
      { net: [{ vhost_user: true, vhost_socket: at('net'), vhost_mode: 'Client' }] },
      `net _net0: cannot ACTION: ${served}`,
    ],
    [
      { fs: [{ tag: 't', socket: at('fs'), num_queues: 1, queue_size: 64 }] },
      'fs _fs0: cannot ACTION: its daemon has state of its own',
    ],
  ];
  const unsent: [object, string][] = [
    [{ memory: { size: 0, zones: [zone] } }, `memory zone z: cannot ACTION: it is the file ${zone.file}`],
    [{ pmem }, 'pmem lost: cannot ACTION: what its guest writes is in no file'],
    [{ ivshmem: shared }, 'ivshmem: cannot ACTION: other programs may write its memory meanwhile'],
  ];
  for (const [config, reason] of [...unsaved, ...unsent]) {
    await deleteVm(vmm);
    await t.test(reason.replaceAll(vmm.folder, '').slice(0, 80), async () => {
      const memory = { size: 128 * MIB, shared: true };
      await createAndBoot(vmm, guestConfig({ memory, ...config }));
      // nothing listens there: the request is refused before it connects
      const sent = await vmm.put('vm.send-migration', { destination_url: 'unix:/nobody' });
      assertStatus(sent, 500);
      assert.deepEqual(messagesOf(sent).at(-1), reason.replace('ACTION', 'be sent'));
      assert.equal(await stateOf(vmm), 'Running');
      if (unsaved.some(([one]) => one === config)) await assertUnsaved(vmm, reason);
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
});

async function assertUnsaved(vmm: TestVmm, reason: string): Promise<void> {
  const path = mkdtempSync(join(vmm.folder, 'none-'));
  assertStatus(await vmm.put('vm.pause'), 204);
  const answer = await vmm.put('vm.snapshot', { destination_url: `file://${path}` });
  assertStatus(answer, 500);
  assert.deepEqual(messagesOf(answer).at(-1), reason.replace('ACTION', 'be in a snapshot'));
  assert.deepEqual(readdirSync(path), []);
}

/** Fails where a snapshot with pmem behind the vIOMMU is written. */
async function assertPmemUnsaved(vmm: TestVmm): Promise<void> {
  const pmem = { file: image(vmm, 'p, "m".img', 128), id: 'pm', iommu: true };
  assertStatus(await vmm.put('vm.add-pmem', pmem), 200);
  assertStatus(await vmm.put('vm.pause'), 204);
  const path = join(vmm.folder, 'none');
  mkdirSync(path);
  const answer = await vmm.put('vm.snapshot', { destination_url: `file://${path}` });
  assertRefused(answer, 500, /pmem pm: cannot be in a snapshot: it is behind the virtual IOMMU/);
  assert.deepEqual(readdirSync(path), []);
  assertStatus(await vmm.put('vm.resume'), 204);
}
