// vCPUs, RAM and balloon of a running guest, seen in the guest.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { comingProcessorsArchive } from './support/acpi.ts';
import { guestConfig, INITRAMFS } from './support/guest.ts';
import { infoOf } from './support/info.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { until } from './support/until.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

async function boot(vmm: TestVmm, more: Readonly<Record<string, unknown>>): Promise<Shell> {
  assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}

async function acpiTable(shell: Shell, name: string): Promise<Buffer> {
  const dump = await shell.run(`od -An -v -tx1 /sys/firmware/acpi/tables/${name}`);
  return Buffer.from(dump.replace(/\s/g, ''), 'hex');
}

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

test('vCPUs come and go, and a reboot starts with those that were asked for last', async () => {
  await using vmm = await startVmm();
  const cpus = { boot_vcpus: 2, max_vcpus: 4 };
  const initramfs = join(vmm.folder, 'initramfs');
  {
    using shell = await boot(vmm, { cpus });
    const tables = { apic: await acpiTable(shell, 'APIC'), fadt: await acpiTable(shell, 'FACP') };
    writeFileSync(initramfs, Buffer.concat([comingProcessorsArchive(tables), readFileSync(INITRAMFS)]));
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  using shell = await boot(vmm, { cpus, initramfs: { path: initramfs } });
  const info = (await vmm.get('vm.info')).json;
  for (const desired of [0, 5, 255, 1000, -1, 1.5]) {
    const answer = await vmm.put('vm.resize', { desired_vcpus: desired });
    assertStatus(answer, 400);
  }
  const { json } = await vmm.put('vm.resize', { desired_vcpus: 5 });
  assert.match(JSON.stringify(json), /desired_vcpus: must be from 1 to max_vcpus \(4\), got 5/);
  assert.deepEqual((await vmm.get('vm.info')).json, info);

  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 4 }), 204);
  await sees(shell, 4);
  assert.equal(await configured(vmm), 4);
  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 2 }), 204);
  await sees(shell, 2);
  // a vCPU that the guest no longer uses may still be on its way out; then QEMU's emulation forgets none that was,
  // and more of them would be its end
  let refused = await vmm.put('vm.resize', { desired_vcpus: 4 });
  await until('the vCPUs are gone', async () => {
    if (refused.status === 429) refused = await vmm.put('vm.resize', { desired_vcpus: 4 });
    return refused.status !== 429;
  });
  assertStatus(refused, 500);
  assert.match(JSON.stringify(refused.json), /0 more vCPUs in this life.*vm\.reboot/);
  assert.equal(await configured(vmm), 2);

  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await sees(shell, 2);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 3 }), 204);
  assertStatus(await vmm.put('vm.resume'), 204);
  await sees(shell, 3);
  // those that were there at boot go as well, but for the first
  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 1 }), 204);
  await sees(shell, 1);
});
