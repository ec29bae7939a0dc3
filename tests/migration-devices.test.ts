// A VM with NUMA nodes that grow, spare vCPUs, a balloon, a watchdog and a hot-plugged disk is sent to another VMM: all of it
// goes on there, and grows further.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeImage } from './support/images.ts';
import { untilReceiving } from './support/migration.ts';
import { openShell, type Shell } from './support/shell.ts';
import { actualSizeOf, ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** What a guest's kernel keeps of a node's RAM, at most, in `bytes`. */
const KEPT = 96 * MIB;
/** The watchdog's time in seconds: a guest on a busy host, and a stopped one while it is sent, feeds it late. */
const WATCHDOG_S = 20;

/** RAM of the guest's nodes in the order of their numbers, in `bytes`. */
async function nodes(shell: Shell): Promise<readonly number[]> {
  const text = await shell.run("sed -n 's/.*MemTotal: *//p' /sys/devices/system/node/node*/meminfo");
  return text.split('\n').map((line) => Number.parseInt(line, 10) * 1024);
}

async function nodesHave(shell: Shell, sizes: readonly number[]): Promise<void> {
  let seen: readonly number[] = [];
  await until(
    `the nodes have ${sizes.map((size) => size / MIB).join(' and ')} MiB`,
    async () => {
      seen = await nodes(shell);
      return seen.length === sizes.length && sizes.every((size, i) => isMostOf(seen[i] ?? 0, size));
    },
    () => `they have ${seen.map((size) => size / MIB).join(' and ')} MiB`,
  );
}

function isMostOf(seen: number, size: number): boolean {
  return seen <= size && seen > size - KEPT;
}

async function nodesSay(shell: Shell, file: string): Promise<readonly string[]> {
  return (await shell.run(`cat /sys/devices/system/node/node*/${file}`)).split('\n');
}

const bootId = (shell: Shell): Promise<string> => shell.run('cat /proc/sys/kernel/random/boot_id');

async function resizeZone(vmm: TestVmm, id: string, desired_ram: number): Promise<void> {
  assertStatus(await vmm.put('vm.resize-zone', { id, desired_ram }), 204);
}

test('NUMA nodes, virtio-mem, vCPUs, balloon, watchdog and a hot-plugged disk go on at the destination', async () => {
  await using here = await startVmm();
  await using there = await startVmm();
  const disk = join(here.folder, 'later, "é".raw');
  makeImage(disk, 4 * MIB, 'hot-plugged');
  const zone = { hotplug_size: 384 * MIB, shared: true };
  using shell = await boot(here, {
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
  await resizeZone(here, 'low', 384 * MIB);
  await resizeZone(here, 'high', 256 * MIB);
  await nodesHave(shell, [384 * MIB, 256 * MIB]);
  assertStatus(await here.put('vm.resize', { desired_balloon: 64 * MIB }), 204);
  await until('the balloon has grown', async () => (await actualSizeOf(here)) === (640 - 64) * MIB);
  assertStatus(await here.put('vm.add-disk', { path: disk, id: 'later' }), 200);
  await shell.run('until [ -b /dev/vda ]; do :; done');
  assert.deepEqual(await nodesSay(shell, 'cpulist'), ['0', '1']);
  const id = await bootId(shell);
  await shell.run(`watchdog -t 1 -T ${WATCHDOG_S} /dev/watchdog`);

  const url = `unix:${join(there.folder, 'migration')}`;
  const receiving = there.put('vm.receive-migration', { receiver_url: url });
  await untilReceiving(there, url);
  assertStatus(await here.put('vm.send-migration', { destination_url: url }), 204);
  assertStatus(await receiving, 204);

  using moved = openShell(await ptyOf(there));
  assert.equal(await bootId(moved), id);
  assert.deepEqual(await nodesSay(moved, 'distance'), ['10 15', '25 10']);
  assert.equal(await actualSizeOf(there), (640 - 64) * MIB);
  assert.equal(await moved.run('head -c 11 /dev/vda'), 'hot-plugged');

  assertStatus(await there.put('vm.resize', { desired_balloon: 0, desired_vcpus: 4 }), 204);
  await until('the balloon is empty', async () => (await actualSizeOf(there)) === 640 * MIB);
  await nodesHave(moved, [384 * MIB, 256 * MIB]);
  await moved.run('until [ "$(nproc)" = 4 ]; do :; done');
  assert.deepEqual(await nodesSay(moved, 'cpulist'), ['0,2', '1,3']);
  await resizeZone(there, 'low', 640 * MIB);
  await resizeZone(there, 'high', 128 * MIB);
  await nodesHave(moved, [640 * MIB, 128 * MIB]);
  assertStatus(await there.put('vm.remove-device', { id: 'later' }), 204);
  await moved.run('while [ -b /dev/vda ]; do :; done');

  // the watchdog waits for the guest here as well
  assert.equal(await bootId(moved), id);
  moved.type('kill -9 $(pidof watchdog)\r');
  await moved.login();
  assert.notEqual(await bootId(moved), id);
});
