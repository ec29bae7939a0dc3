// vm.resize and vm.resize-zone: vCPUs, RAM and balloon, observed in the guest.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { type Answer, assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { hasRam, hasVcpus } from './support/guest-ram.ts';
import type { Shell } from './support/shell.ts';
import { restore } from './support/snapshots.ts';
import { actualSizeOf, infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** Returns boot_vcpus in vm.info: the next boot starts with as many. */
async function configured(vmm: TestVmm): Promise<number> {
  return (await infoOf(vmm)).config.cpus.boot_vcpus;
}

/** Requests a number of vCPUs until the guest has ejected those of requests before; returns the last answer. */
async function resizeVcpus(vmm: TestVmm, desired: number): Promise<Answer> {
  let answer = await vmm.put('vm.resize', { desired_vcpus: desired });
  await until('no vCPU is being removed', async () => {
    if (answer.status === 429) answer = await vmm.put('vm.resize', { desired_vcpus: desired });
    return answer.status !== 429;
  });
  return answer;
}

/** Largest difference between the time that passes in the guest and on the host, in seconds. */
const CLOCK_S = 1;

/** Times of one reading of the guest's clock, in seconds: on the host before and after it, and in the guest. */
interface Reading {
  readonly before: number;
  readonly after: number;
  readonly guest: number;
}

async function readClock(shell: Shell): Promise<Reading> {
  const before = performance.now() / 1000;
  const guest = Number((await shell.run('cat /proc/uptime')).split(' ')[0]);
  return { before, guest, after: performance.now() / 1000 };
}

/** Fails if the guest's clock has jumped or stopped since a reading. */
async function assertClockGoesOn(shell: Shell, first: Reading): Promise<void> {
  const last = await readClock(shell);
  const passed = last.guest - first.guest;
  const [least, most] = [last.before - first.after, last.after - first.before];
  const text = `${passed} s have passed in the guest, ${least} to ${most} s on the host`;
  assert.ok(passed > least - CLOCK_S && passed < most + CLOCK_S, text);
}

test('vm.resize of vCPUs', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 4 } });
  const info = (await vmm.get('vm.info')).json;
  await t.test('other numbers than 1 to max_vcpus are refused, and change nothing', async () => {
    for (const desired of [0, 5, 255, 1000, -1, 1.5])
      assertStatus(await vmm.put('vm.resize', { desired_vcpus: desired }), 400);
    const refused = await vmm.put('vm.resize', { desired_vcpus: 5 });
    assertRefused(refused, 400, /desired_vcpus: must be from 1 to max_vcpus \(4\), got 5/);
    assert.deepEqual((await vmm.get('vm.info')).json, info);
  });

  await t.test('vCPUs are added and removed while the guest runs', async () => {
    for (const vcpus of [4, 2, 4, 2]) {
      assertStatus(await resizeVcpus(vmm, vcpus), 204);
      await hasVcpus(shell, vcpus);
      assert.equal(await configured(vmm), vcpus);
    }
  });
  await t.test('the guest’s clock goes on while its vCPUs are removed', async () => {
    const clock = await readClock(shell);
    for (const vcpus of [4, 1, 4, 1, 2]) {
      assertStatus(await resizeVcpus(vmm, vcpus), 204);
      await hasVcpus(shell, vcpus);
      await assertClockGoesOn(shell, clock);
    }
  });
  await t.test('the number stays over a reboot', async () => {
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shell.login();
    await hasVcpus(shell, 2);
  });
  await t.test('a vCPU that is added to a paused VM is there after vm.resume', async () => {
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.resize', { desired_vcpus: 3 }), 204);
    assertStatus(await vmm.put('vm.resume'), 204);
    await hasVcpus(shell, 3);
  });
  await t.test('vCPUs of the boot can be removed, except the first', async () => {
    assertStatus(await resizeVcpus(vmm, 1), 204);
    await hasVcpus(shell, 1);
  });

  const folder = join(vmm.folder, 'snapshot');
  mkdirSync(folder);
  assertStatus(await resizeVcpus(vmm, 2), 204);
  await hasVcpus(shell, 2);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}` }), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  using restored = await restore(vmm, folder);
  await t.test('vCPUs are added and removed in a restored VM', async () => {
    for (const vcpus of [4, 1, 3]) {
      assertStatus(await resizeVcpus(vmm, vcpus), 204);
      await hasVcpus(restored, vcpus);
    }
  });
});

test('under emulation a VM can start four times max_vcpus vCPUs between two boots', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 2 } });
  // 8 in all, the first of them at boot
  for (let additions = 1; additions <= 7; additions++) {
    assertStatus(await resizeVcpus(vmm, 2), 204);
    await hasVcpus(shell, 2);
    assertStatus(await resizeVcpus(vmm, 1), 204);
    await hasVcpus(shell, 1);
  }
  const refused = await resizeVcpus(vmm, 2);
  assertRefused(refused, 500, /0 more vCPUs .*vm\.reboot/);
  assert.equal(await configured(vmm), 1);
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  assertStatus(await resizeVcpus(vmm, 2), 204);
  await hasVcpus(shell, 2);
});

test('the firmware tables of a guest without memory hot-plug', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 2 } });
  await t.test('the guest has no bounce buffers', async () => {
    const total = Number(await shell.run("awk '/MemTotal/ { print $2 }' /proc/meminfo"));
    assert.ok(total >= 455_000, `MemTotal is ${total} kB`);
    assert.equal(await shell.run('dmesg | grep -c SWIOTLB'), '0');
  });
  await t.test('its kernel is not tainted', async () => {
    assert.equal(await shell.run('cat /proc/sys/kernel/tainted'), '0');
  });
  await t.test('its kernel finds no error in the ACPI tables', async () => {
    assert.doesNotMatch(
      await shell.run("dmesg | grep -E 'ACPI.*(rror|arning|hecksum)'"),
      /rror|arning|BIOS Bug/,
    );
  });
});

test('NEPHOS_ACPI=off keeps the ACPI tables of QEMU', async () => {
  await using vmm = await startVmm({ env: { NEPHOS_ACPI: 'off' } });
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 2 } });
  assert.notEqual(await shell.run('dmesg | grep -c SWIOTLB'), '0');
});

const MIB = 2 ** 20;
const ONLINE = { args: 'console=ttyS0 memhp_default_state=online' };

/** Each request is refused with the bound, and changes nothing. */
async function refuses(
  vmm: TestVmm,
  path: string,
  cases: readonly (readonly [object, RegExp])[],
): Promise<void> {
  // QEMU has reported the address ranges of all devices, also on a busy host
  await until('vm.info has address ranges', async () =>
    Object.entries((await infoOf(vmm)).device_tree ?? {}).every(
      ([id, { resources }]) => !id.startsWith('_virtio-pci-') || resources.length > 0,
    ),
  );
  const { device_tree: tree, ...before } = await infoOf(vmm);
  for (const [body, reason] of cases) {
    const answer = await vmm.put(path, body);
    assertRefused(answer, 400, reason);
  }
  const { device_tree: _, ...after } = await infoOf(vmm);
  assert.deepEqual(after, before);
  let last: unknown;
  await until(
    'vm.info has the devices and address ranges from before',
    async () => isDeepStrictEqual((last = (await infoOf(vmm)).device_tree), tree),
    () => `${JSON.stringify(tree)}\n${JSON.stringify(last)}`,
  );
}

test('vm.resize of RAM by DIMMs', async (t) => {
  await using vmm = await startVmm();
  const memory = { size: 512 * MIB, hotplug_size: 1024 * MIB };
  using shell = await boot(vmm, { memory, cmdline: ONLINE });
  await t.test('sizes that no DIMMs make are refused', async () => {
    await refuses(vmm, 'vm.resize', [
      [{ desired_ram: 0 }, /multiple of 4096 above 0/],
      [{ desired_ram: 600 * MIB }, /must be 536870912 .*multiple of 128 MiB, got 629145600/],
      [{ desired_ram: 1537 * MIB }, /must be 1610612736 at most/],
      [{ desired_vcpus: 1, desired_ram: 1 }, /desired_ram/],
    ]);
  });
  await t.test('RAM is added twice', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_ram: 1024 * MIB }), 204);
    await hasRam(shell, 900, 1024);
    assert.equal((await infoOf(vmm)).config.memory.size, 1024 * MIB);
    assertStatus(await vmm.put('vm.resize', { desired_ram: 1152 * MIB }), 204);
    await hasRam(shell, 1024, 1152);
  });
  await t.test('less RAM is for the next boot, also of a paused VM', async () => {
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.resize', { desired_ram: 640 * MIB }), 204);
    assertStatus(await vmm.put('vm.resume'), 204);
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shell.login();
    await hasRam(shell, 480, 640);
  });
  await t.test('8 DIMMs can be added, and no more', async () => {
    for (let i = 1; i <= 8; i++)
      assertStatus(await vmm.put('vm.resize', { desired_ram: (640 + 128 * i) * MIB }), 204);
    await refuses(vmm, 'vm.resize', [[{ desired_ram: (640 + 128 * 9) * MIB }, /at most|8 DIMMs/]]);
    await hasRam(shell, 1400, 1664);
  });
});

test('vm.resize of the balloon', async (t) => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm, { balloon: { size: 0 } });
  await t.test('sizes that the balloon cannot have are refused', async () => {
    await refuses(vmm, 'vm.resize', [
      [{ desired_balloon: 512 * MIB }, /less than the RAM/],
      [{ desired_balloon: 1 }, /multiple of 4096/],
      [{ desired_vcpus: 1, desired_balloon: 1 }, /desired_balloon/],
    ]);
  });
  const has = (mib: number): Promise<void> =>
    until(`the guest is left ${mib} MiB`, async () => (await actualSizeOf(vmm)) === mib * MIB);
  await t.test('the balloon takes RAM of the guest', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_balloon: 256 * MIB }), 204);
    await has(256);
    assert.equal((await infoOf(vmm)).config.balloon?.size, 256 * MIB);
  });
  await t.test('the request of a paused guest is answered at once, and done after vm.resume', async () => {
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.resize', { desired_balloon: 64 * MIB }), 204);
    assert.equal(await actualSizeOf(vmm), 256 * MIB);
    assertStatus(await vmm.put('vm.resume'), 204);
    await has(448);
  });
});

test('vm.resize and vm.resize-zone of RAM by virtio-mem', async (t) => {
  await using vmm = await startVmm();
  const zones = [
    { id: 'fixed', size: 256 * MIB },
    { id: 'grows', size: 256 * MIB, hotplug_size: 512 * MIB },
  ];
  const memory = { size: 0, hotplug_method: 'VirtioMem', zones };
  {
    using shell = await boot(vmm, { memory, cmdline: ONLINE });
    await t.test('sizes that a zone cannot have are refused', async () => {
      await refuses(vmm, 'vm.resize-zone', [
        [{ id: 'none', desired_ram: 512 * MIB }, /no memory zone is called "none"/],
        [{ id: 'fixed', desired_ram: 512 * MIB }, /cannot grow: hotplug_size is not set/],
        [{ id: 'grows', desired_ram: 255 * MIB }, /must be 268435456 at least/],
        [{ id: 'grows', desired_ram: 769 * MIB }, /must be 805306368 at most/],
        [{ id: 'grows', desired_ram: 257 * MIB }, /multiple of 2 MiB/],
        [{ id: 'grows' }, /desired_ram/],
      ]);
    });
    await t.test('vm.resize is refused where there are zones, or no balloon', async () => {
      await refuses(vmm, 'vm.resize', [
        [{ desired_ram: 1024 * MIB }, /vm\.resize-zone/],
        [{ desired_balloon: 0 }, /no balloon/],
      ]);
    });
    const resize = (mib: number) => vmm.put('vm.resize-zone', { id: 'grows', desired_ram: mib * MIB });
    await t.test('a zone grows', async () => {
      assertStatus(await resize(768), 204);
      await hasRam(shell, 900, 1024);
      assert.equal((await infoOf(vmm)).config.memory.zones?.[1]?.hotplugged_size, 512 * MIB);
    });
    await t.test('a zone shrinks, and keeps its size over a reboot', async () => {
      assertStatus(await resize(384), 204);
      await hasRam(shell, 500, 660);
      assertStatus(await vmm.put('vm.reboot'), 204);
      await shell.login();
      await hasRam(shell, 500, 640);
    });
  }
  assertStatus(await vmm.put('vm.delete'), 204);
  const single = { size: 384 * MIB, hotplug_method: 'VirtioMem', hotplug_size: 640 * MIB };
  using shell = await boot(vmm, { memory: { ...single, hotplugged_size: 128 * MIB }, cmdline: ONLINE });
  await t.test('hotplugged_size is there at boot', async () => {
    await hasRam(shell, 400, 512);
  });
  await t.test('RAM without zones grows', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_ram: 1024 * MIB }), 204);
    await hasRam(shell, 900, 1024);
    assert.equal((await infoOf(vmm)).config.memory.hotplugged_size, 640 * MIB);
  });
  await t.test('RAM without zones shrinks', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_ram: 512 * MIB }), 204);
    await hasRam(shell, 400, 512);
  });
});
