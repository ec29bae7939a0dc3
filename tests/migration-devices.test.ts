// Live migration of a VM with virtio-mem zones, NUMA nodes, vCPUs to add, a balloon, a watchdog and a hot-plugged disk.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { hasNodeRam } from './support/guest-ram.ts';
import { makeImage } from './support/images.ts';
import { migrate } from './support/migration.ts';
import { openShell, type Shell } from './support/shell.ts';
import { actualSizeOf, ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Timeout of the watchdog in seconds: on a busy host, and while it is migrated, the guest feeds it late. */
const WATCHDOG_S = 20;

/** Text of a file of each NUMA node of the guest. */
async function nodeFiles(shell: Shell, file: string): Promise<readonly string[]> {
  return (await shell.run(`cat /sys/devices/system/node/node*/${file}`)).split('\n');
}

const bootId = (shell: Shell): Promise<string> => shell.run('cat /proc/sys/kernel/random/boot_id');

async function resizeZone(vmm: TestVmm, id: string, desired_ram: number): Promise<void> {
  assertStatus(await vmm.put('vm.resize-zone', { id, desired_ram }), 204);
}

test('a migrated VM with NUMA nodes and devices', async (t) => {
  await using source = await startVmm();
  await using destination = await startVmm();
  const disk = join(source.folder, 'later, "é".raw');
  makeImage(disk, 4 * MIB, 'hot-plugged');
  const zone = { hotplug_size: 384 * MIB, shared: true };
  using shell = await boot(source, {
    cpus: { boot_vcpus: 2, max_vcpus: 4 },
    memory: {
      size: 0,
      shared: true,
      hotplug_method: 'VirtioMem',
      zones: [
        { ...zone, id: 'low', size: 256 * MIB },
        { ...zone, id: 'high', size: 128 * MIB },
      ],
    },
    numa: [
      {
        guest_numa_id: 0,
        cpus: [0, 2],
        memory_zones: ['low'],
        distances: [{ destination: 1, distance: 15 }],
      },
      {
        guest_numa_id: 1,
        cpus: [1, 3],
        memory_zones: ['high'],
        distances: [{ destination: 0, distance: 25 }],
      },
    ],
    balloon: { size: 0 },
    watchdog: true,
    cmdline: { args: 'console=ttyS0 memhp_default_state=online' },
  });
  await shell.run('modprobe virtio_balloon');
  await resizeZone(source, 'low', 384 * MIB);
  await resizeZone(source, 'high', 256 * MIB);
  await hasNodeRam(shell, [384, 256]);
  assertStatus(await source.put('vm.resize', { desired_balloon: 64 * MIB }), 204);
  await until('the balloon has grown', async () => (await actualSizeOf(source)) === (640 - 64) * MIB);
  assertStatus(await source.put('vm.add-disk', { path: disk, id: 'later' }), 200);
  await shell.run('until [ -b /dev/vda ]; do :; done');
  assert.deepEqual(await nodeFiles(shell, 'cpulist'), ['0', '1']);
  const id = await bootId(shell);
  await shell.run(`watchdog -t 1 -T ${WATCHDOG_S} /dev/watchdog`);

  const url = `unix:${join(destination.folder, 'migration')}`;
  await migrate(source, destination, url);

  using moved = openShell(await ptyOf(destination));
  await t.test('is the same boot of the guest', async () => {
    assert.equal(await bootId(moved), id);
  });
  await t.test('has the distances of its NUMA nodes', async () => {
    assert.deepEqual(await nodeFiles(moved, 'distance'), ['10 15', '25 10']);
  });
  await t.test('has the size of its balloon', async () => {
    assert.equal(await actualSizeOf(destination), (640 - 64) * MIB);
  });
  await t.test('has its hot-plugged disk', async () => {
    assert.equal(await moved.run('head -c 11 /dev/vda'), 'hot-plugged');
  });

  await t.test('deflates its balloon', async () => {
    assertStatus(await destination.put('vm.resize', { desired_balloon: 0, desired_vcpus: 4 }), 204);
    await until('the balloon is empty', async () => (await actualSizeOf(destination)) === 640 * MIB);
    await hasNodeRam(moved, [384, 256]);
  });
  await t.test('gets more vCPUs, in their nodes', async () => {
    await moved.run('until [ "$(nproc)" = 4 ]; do :; done');
    assert.deepEqual(await nodeFiles(moved, 'cpulist'), ['0,2', '1,3']);
  });
  await t.test('resizes its zones', async () => {
    await resizeZone(destination, 'low', 640 * MIB);
    await resizeZone(destination, 'high', 128 * MIB);
    await hasNodeRam(moved, [640, 128]);
  });
  await t.test('removes its hot-plugged disk', async () => {
    assertStatus(await destination.put('vm.remove-device', { id: 'later' }), 204);
    await moved.run('while [ -b /dev/vda ]; do :; done');
  });

  await t.test('is reset by its watchdog when the guest no longer feeds it', async () => {
    assert.equal(await bootId(moved), id);
    moved.type('kill -9 $(pidof watchdog)\r');
    await moved.login();
    assert.notEqual(await bootId(moved), id);
  });
});
