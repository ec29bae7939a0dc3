// vCPUs, RAM and balloon of a running guest, seen in the guest.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { boot } from './support/boot.ts';
import { infoOf } from './support/vm-info.ts';
import { hasRam } from './support/guest-ram.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/wait.ts';
import { assertStatus, startVmm, type Answer, type TestVmm } from './support/vmm.ts';

async function sees(shell: Shell, vcpus: number): Promise<void> {
  await until(
    `the guest runs on ${vcpus} vCPUs`,
    async () => (await shell.run('nproc')) === String(vcpus),
    shell.shown,
  );
}

/** Those that the configuration shows: the next boot starts with them. */
async function configured(vmm: TestVmm): Promise<number> {
  const { config } = (await infoOf(vmm)) as unknown as { config: { cpus: { boot_vcpus: number } } };
  return config.cpus.boot_vcpus;
}

/** Asks until the guest has ejected the vCPUs that it was asked for before; returns the last answer. */
async function resizeVcpus(vmm: TestVmm, desired: number): Promise<Answer> {
  let answer = await vmm.put('vm.resize', { desired_vcpus: desired });
  await until('no vCPU is being removed', async () => {
    if (answer.status === 429) answer = await vmm.put('vm.resize', { desired_vcpus: desired });
    return answer.status !== 429;
  });
  return answer;
}

test('vCPUs are added and removed, also after a reboot and a restore', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 4 } });
  const info = (await vmm.get('vm.info')).json;
  for (const desired of [0, 5, 255, 1000, -1, 1.5]) {
    const answer = await vmm.put('vm.resize', { desired_vcpus: desired });
    assertStatus(answer, 400);
  }
  const { json } = await vmm.put('vm.resize', { desired_vcpus: 5 });
  assert.match(JSON.stringify(json), /desired_vcpus: must be from 1 to max_vcpus \(4\), got 5/);
  assert.deepEqual((await vmm.get('vm.info')).json, info);

  for (const vcpus of [4, 2, 4, 2]) {
    assertStatus(await resizeVcpus(vmm, vcpus), 204);
    await sees(shell, vcpus);
    assert.equal(await configured(vmm), vcpus);
  }
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await sees(shell, 2);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 3 }), 204);
  assertStatus(await vmm.put('vm.resume'), 204);
  await sees(shell, 3);
  // those that were there at boot go as well, but for the first
  assertStatus(await resizeVcpus(vmm, 1), 204);
  await sees(shell, 1);

  const folder = join(vmm.folder, 'snapshot');
  mkdirSync(folder);
  assertStatus(await resizeVcpus(vmm, 2), 204);
  await sees(shell, 2);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}` }), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}`, resume: true }), 204);
  using restored = openShell(await ptyOf(vmm));
  for (const vcpus of [4, 1, 3]) {
    assertStatus(await resizeVcpus(vmm, vcpus), 204);
    await sees(restored, vcpus);
  }
});

test('emulation starts four times max_vcpus vCPUs in one run of the machine, and refuses more', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 2 } });
  // 8 in all, of which the first was there at boot
  for (let additions = 1; additions <= 7; additions++) {
    assertStatus(await resizeVcpus(vmm, 2), 204);
    await sees(shell, 2);
    assertStatus(await resizeVcpus(vmm, 1), 204);
    await sees(shell, 1);
  }
  const refused = await resizeVcpus(vmm, 2);
  assertStatus(refused, 500);
  assert.match(JSON.stringify(refused.json), /0 more vCPUs .*vm\.reboot/);
  assert.equal(await configured(vmm), 1);
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  assertStatus(await resizeVcpus(vmm, 2), 204);
  await sees(shell, 2);
});

test('a guest that cannot be given RAM later has no bounce buffers, its tables are whole, and its kernel is not tainted', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 2 } });
  const total = Number(await shell.run("awk '/MemTotal/ { print $2 }' /proc/meminfo"));
  assert.ok(total >= 455_000, `MemTotal is ${total} kB`);
  assert.equal(await shell.run('dmesg | grep -c SWIOTLB'), '0');
  assert.equal(await shell.run('cat /proc/sys/kernel/tainted'), '0');
  assert.doesNotMatch(
    await shell.run("dmesg | grep -E 'ACPI.*(rror|arning|hecksum)'"),
    /rror|arning|BIOS Bug/,
  );
});

test('NEPHOS_ACPI=off leaves the tables as QEMU makes them', async () => {
  await using vmm = await startVmm({ env: { NEPHOS_ACPI: 'off' } });
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 2 } });
  assert.notEqual(await shell.run('dmesg | grep -c SWIOTLB'), '0');
});

const MIB = 2 ** 20;
const ONLINE = { args: 'console=ttyS0 memhp_default_state=online' };

interface Sizes {
  readonly memory_actual_size: number;
  readonly config: {
    readonly memory: {
      readonly size: number;
      readonly hotplugged_size?: number;
      readonly zones?: readonly { readonly hotplugged_size?: number }[];
    };
    readonly balloon?: { readonly size: number };
  };
}

async function sizesOf(vmm: TestVmm): Promise<Sizes> {
  return (await vmm.get('vm.info')).json as Sizes;
}

/** Each request is refused with the bound, and changes nothing. */
async function refuses(
  vmm: TestVmm,
  path: string,
  cases: readonly (readonly [object, RegExp])[],
): Promise<void> {
  const info = await sizesOf(vmm);
  for (const [body, reason] of cases) {
    const answer = await vmm.put(path, body);
    assertStatus(answer, 400);
    assert.match(JSON.stringify(answer.json), reason);
  }
  assert.deepEqual(await sizesOf(vmm), info);
}

test('RAM comes by the DIMM and goes at the next boot', async () => {
  await using vmm = await startVmm();
  const memory = { size: 512 * MIB, hotplug_size: 1024 * MIB };
  using shell = await boot(vmm, { memory, cmdline: ONLINE });
  await refuses(vmm, 'vm.resize', [
    [{ desired_ram: 0 }, /multiple of 4096 above 0/],
    [{ desired_ram: 600 * MIB }, /must be 536870912 .*multiple of 128 MiB, got 629145600/],
    [{ desired_ram: 1537 * MIB }, /must be 1610612736 at most/],
    [{ desired_vcpus: 1, desired_ram: 1 }, /desired_ram/],
  ]);
  assertStatus(await vmm.put('vm.resize', { desired_ram: 1024 * MIB }), 204);
  await hasRam(shell, 900, 1024);
  assert.equal((await sizesOf(vmm)).config.memory.size, 1024 * MIB);
  assertStatus(await vmm.put('vm.resize', { desired_ram: 1152 * MIB }), 204);
  await hasRam(shell, 1024, 1152);
  // less than the guest has is for the next boot; a paused guest is not waited for
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.resize', { desired_ram: 640 * MIB }), 204);
  assertStatus(await vmm.put('vm.resume'), 204);
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await hasRam(shell, 480, 640);
  for (let i = 1; i <= 8; i++)
    assertStatus(await vmm.put('vm.resize', { desired_ram: (640 + 128 * i) * MIB }), 204);
  await refuses(vmm, 'vm.resize', [[{ desired_ram: (640 + 128 * 9) * MIB }, /at most|8 DIMMs/]]);
  await hasRam(shell, 1400, 1664);
});

test('a balloon takes RAM back from a guest and gives it again, and nothing waits for one that is paused', async () => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm, { balloon: { size: 0 } });
  await refuses(vmm, 'vm.resize', [
    [{ desired_balloon: 512 * MIB }, /less than the RAM/],
    [{ desired_balloon: 1 }, /multiple of 4096/],
    [{ desired_vcpus: 1, desired_balloon: 1 }, /desired_balloon/],
  ]);
  const has = (mib: number): Promise<void> =>
    until(`the guest is left ${mib} MiB`, async () => (await sizesOf(vmm)).memory_actual_size === mib * MIB);
  assertStatus(await vmm.put('vm.resize', { desired_balloon: 256 * MIB }), 204);
  await has(256);
  assert.equal((await sizesOf(vmm)).config.balloon?.size, 256 * MIB);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.resize', { desired_balloon: 64 * MIB }), 204);
  assert.equal((await sizesOf(vmm)).memory_actual_size, 256 * MIB);
  assertStatus(await vmm.put('vm.resume'), 204);
  await has(448);
});

test('RAM of virtio-mem grows and shrinks while the guest runs, in a zone of its own as well', async () => {
  await using vmm = await startVmm();
  const zones = [
    { id: 'fixed', size: 256 * MIB },
    { id: 'grows', size: 256 * MIB, hotplug_size: 512 * MIB },
  ];
  const memory = { size: 0, hotplug_method: 'VirtioMem', zones };
  {
    using shell = await boot(vmm, { memory, cmdline: ONLINE });
    await refuses(vmm, 'vm.resize-zone', [
      [{ id: 'none', desired_ram: 512 * MIB }, /no memory zone is called \\"none\\"/],
      [{ id: 'fixed', desired_ram: 512 * MIB }, /no room to grow/],
      [{ id: 'grows', desired_ram: 255 * MIB }, /must be 268435456 at least/],
      [{ id: 'grows', desired_ram: 769 * MIB }, /must be 805306368 at most/],
      [{ id: 'grows', desired_ram: 257 * MIB }, /multiple of 2 MiB/],
      [{ id: 'grows' }, /desired_ram/],
    ]);
    await refuses(vmm, 'vm.resize', [
      [{ desired_ram: 1024 * MIB }, /vm\.resize-zone/],
      [{ desired_balloon: 0 }, /no balloon/],
    ]);
    const resize = (mib: number) => vmm.put('vm.resize-zone', { id: 'grows', desired_ram: mib * MIB });
    assertStatus(await resize(768), 204);
    await hasRam(shell, 900, 1024);
    assert.equal((await sizesOf(vmm)).config.memory.zones?.[1]?.hotplugged_size, 512 * MIB);
    assertStatus(await resize(384), 204);
    await hasRam(shell, 500, 660);
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shell.login();
    await hasRam(shell, 500, 640);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  const single = { size: 384 * MIB, hotplug_method: 'VirtioMem', hotplug_size: 640 * MIB };
  using shell = await boot(vmm, { memory: { ...single, hotplugged_size: 128 * MIB }, cmdline: ONLINE });
  await hasRam(shell, 400, 512);
  assertStatus(await vmm.put('vm.resize', { desired_ram: 1024 * MIB }), 204);
  await hasRam(shell, 900, 1024);
  assert.equal((await sizesOf(vmm)).config.memory.hotplugged_size, 640 * MIB);
  assertStatus(await vmm.put('vm.resize', { desired_ram: 512 * MIB }), 204);
  await hasRam(shell, 400, 512);
});
