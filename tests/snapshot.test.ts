// Snapshots and the VMs that are made from them, seen in the guest and on the host.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestConfig } from './support/guest.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;
const FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];

async function boot(vmm: TestVmm, more: Readonly<Record<string, unknown>> = {}): Promise<Shell> {
  assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return shell;
}

function folder(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  mkdirSync(path);
  return path;
}

async function snapshot(vmm: TestVmm, path: string): Promise<void> {
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${path}` }), 204);
  assert.deepEqual(readdirSync(path).toSorted(), FILES);
}

/** Restores and resumes; the guest's shell is where it was, on a new PTY. */
async function restore(
  vmm: TestVmm,
  path: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Shell> {
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${path}`, ...more }), 204);
  if (more['resume'] !== true) {
    assert.equal(((await vmm.get('vm.info')).json as { state: string }).state, 'Paused');
    assertStatus(await vmm.put('vm.resume'), 204);
  }
  return openShell(await ptyOf(vmm));
}

test('a VM is saved, goes on, and lives again in another VMM, over generations', async () => {
  await using source = await startVmm();
  const disk = join(source.folder, 'a, "b" é.raw');
  writeFileSync(disk, 'the disk');
  truncateSync(disk, 8 * MIB);
  using shell = await boot(source, {
    disks: [{ path: disk, readonly: true }],
    cpus: { boot_vcpus: 1, max_vcpus: 2 },
  });
  await shell.run('mkdir /m; mount -t tmpfs m /m; head -c 3000000 /dev/urandom > /m/one');
  const sum = (guest: Shell, name: string): Promise<string> => guest.run(`md5sum < /m/${name}`);
  const one = await sum(shell, 'one');

  const first = folder(source, 'gén, "1"');
  const url = `file://${first}`;
  assertStatus(await source.put('vm.snapshot', { destination_url: url }), 405);
  assertStatus(await source.put('vm.pause'), 204);
  for (const bad of [first, 'file://relative', 'tcp://host']) {
    assertStatus(await source.put('vm.snapshot', { destination_url: bad }), 400);
  }
  assertStatus(await source.put('vm.snapshot', { destination_url: `${url}/none` }), 500);
  await snapshot(source, first);
  // an occupied directory is refused and stays as it is
  const before = FILES.map((name) => readFileSync(join(first, name)));
  assertStatus(await source.put('vm.snapshot', { destination_url: url }), 500);
  assert.deepEqual(
    FILES.map((name) => readFileSync(join(first, name))),
    before,
  );
  assert.ok(statSync(join(first, 'memory-ranges')).blocks * 512 < 300 * MIB, 'memory-ranges is not sparse');
  assertStatus(await source.put('vm.restore', { source_url: url }), 404);
  assertStatus(await source.put('vm.resume'), 204);
  assert.equal(await sum(shell, 'one'), one);

  await using clone = await startVmm();
  using restored = await restore(clone, first);
  assert.equal(await sum(restored, 'one'), one);
  assert.equal(await restored.run('head -c 8 /dev/vda'), 'the disk');
  assert.equal(await restored.run('head -c 8 /dev/hwrng | wc -c'), '8');
  // hot-plug works as before (this guest ignores the vCPU until it boots anew: docs/compatibility.md)
  assertStatus(await clone.put('vm.resize', { desired_vcpus: 2 }), 204);
  const added = join(clone.folder, 'added.raw');
  writeFileSync(added, 'added later');
  truncateSync(added, 4 * MIB);
  assertStatus(await clone.put('vm.add-disk', { path: added, id: 'later' }), 200);
  await restored.run('until [ -b /dev/vdb ]; do :; done; head -c 2000000 /dev/urandom > /m/two');
  const two = await sum(restored, 'two');

  assertStatus(await clone.put('vm.pause'), 204);
  const second = folder(clone, 'second');
  await snapshot(clone, second);
  assert.deepEqual(
    FILES.map((name) => readFileSync(join(first, name))),
    before,
    'a clone wrote into its snapshot',
  );
  assertStatus(await clone.put('vm.delete'), 204);

  // in the same VMM, from the second generation, with what the first one got while it ran
  using third = await restore(clone, second, { resume: true, prefault: true });
  assert.equal(await sum(third, 'one'), one);
  assert.equal(await sum(third, 'two'), two);
  assert.equal(await third.run('head -c 11 /dev/vdb'), 'added later');
  assertStatus(await clone.put('vm.remove-device', { id: 'later' }), 204);
  await third.run('while [ -b /dev/vdb ]; do :; done');
  // a reboot is a new machine as after any boot
  assertStatus(await clone.put('vm.reboot'), 204);
  await third.login();
  assert.equal(await third.run('nproc'), '2');
});
