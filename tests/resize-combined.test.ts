// vCPUs, RAM and balloon together: in one request, by NUMA node, and over a reboot of the guest.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { hasRam } from './support/guest-ram.ts';
import type { Shell } from './support/shell.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const ONLINE = { args: 'console=ttyS0 memhp_default_state=online' };

async function hasVcpus(shell: Shell, count: number): Promise<void> {
  await until(
    `the guest has ${count} vCPUs`,
    async () => (await shell.run('nproc')) === String(count),
    shell.shown,
  );
}

async function rebootFromInside(shell: Shell): Promise<void> {
  shell.type('reboot -f\r');
  await shell.login();
}

test('one request adds vCPUs and RAM, which stay over a reboot like the balloon', async () => {
  await using vmm = await startVmm();
  const memory = { size: 384 * MIB, hotplug_size: 1024 * MIB };
  const cpus = { boot_vcpus: 1, max_vcpus: 2 };
  using shell = await boot(vmm, { memory, cpus, balloon: { size: 0 }, cmdline: ONLINE });
  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 2, desired_ram: 768 * MIB }), 204);
  await hasVcpus(shell, 2);
  await hasRam(shell, 640, 768);
  assertStatus(await vmm.put('vm.resize', { desired_balloon: 256 * MIB }), 204);
  await hasRam(shell, 380, 512);
  await rebootFromInside(shell);
  await hasVcpus(shell, 2);
  await hasRam(shell, 380, 512);
  assertStatus(await vmm.put('vm.resize', { desired_balloon: 0 }), 204);
  await hasRam(shell, 640, 768);
  assertStatus(await vmm.put('vm.resize', { desired_ram: 1024 * MIB }), 204);
  await hasRam(shell, 890, 1024);
  // less RAM is for the next boot
  assertStatus(await vmm.put('vm.resize', { desired_ram: 640 * MIB }), 204);
  await rebootFromInside(shell);
  await hasRam(shell, 500, 640);
});

test('hot-plugged vCPUs and RAM are in their NUMA nodes', async () => {
  await using vmm = await startVmm();
  const zone = (id: string, size: number) => ({ id, size: size * MIB, hotplug_size: 256 * MIB });
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 2, max_vcpus: 4 },
    memory: { size: 0, hotplug_method: 'VirtioMem', zones: [zone('mem0', 256), zone('mem1', 128)] },
    numa: [
      {
        guest_numa_id: 0,
        cpus: [0, 3],
        memory_zones: ['mem0'],
        distances: [{ destination: 1, distance: 15 }],
      },
      {
        guest_numa_id: 1,
        cpus: [1, 2],
        memory_zones: ['mem1'],
        distances: [{ destination: 0, distance: 20 }],
      },
    ],
    cmdline: ONLINE,
  });
  const ofNode = (node: number, file: string): Promise<string> =>
    shell.run(`cat /sys/devices/system/node/node${node}/${file}`);
  const hasNodeRam = async (node: number, least: number, most: number): Promise<void> => {
    const read = `awk '/MemTotal/ { print int($4 / 1024) }' /sys/devices/system/node/node${node}/meminfo`;
    await until(`node ${node} has ${least} to ${most} MiB`, async () => {
      const ram = Number(await shell.run(read));
      return ram >= least && ram <= most;
    });
  };
  assert.deepEqual([await ofNode(0, 'cpulist'), await ofNode(1, 'cpulist')], ['0', '1']);
  assert.deepEqual([await ofNode(0, 'distance'), await ofNode(1, 'distance')], ['10 15', '20 10']);
  for (const [id, size] of [
    ['mem0', 512],
    ['mem1', 384],
  ] as const)
    assertStatus(await vmm.put('vm.resize-zone', { id, desired_ram: size * MIB }), 204);
  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 4 }), 204);
  await hasVcpus(shell, 4);
  assert.deepEqual([await ofNode(0, 'cpulist'), await ofNode(1, 'cpulist')], ['0,3', '1-2']);
  await hasNodeRam(0, 400, 512);
  await hasNodeRam(1, 300, 384);
  assertStatus(await vmm.put('vm.resize-zone', { id: 'mem0', desired_ram: 384 * MIB }), 204);
  await hasNodeRam(0, 270, 384);
  await rebootFromInside(shell);
  await hasVcpus(shell, 4);
  await hasNodeRam(0, 270, 384);
  await hasNodeRam(1, 300, 384);
  // down to the zones' size at boot
  assertStatus(await vmm.put('vm.resize-zone', { id: 'mem0', desired_ram: 256 * MIB }), 204);
  assertStatus(await vmm.put('vm.resize-zone', { id: 'mem1', desired_ram: 128 * MIB }), 204);
  await hasNodeRam(0, 150, 256);
  await hasNodeRam(1, 50, 128);
});
