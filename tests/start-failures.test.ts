// Boots on a host that cannot start QEMU: without file descriptors, without a program.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { limitDescriptors, unlimitDescriptors } from './support/descriptor-limit.ts';
import { guestConfig } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { childrenOf, descriptorsOf } from './support/processes.ts';
import { stateOf } from './support/vm-info.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** A boot that works needs fewer more descriptors than this. */
const ENOUGH = 60;

test('with few free file descriptors a boot or reboot works, or is a 500', async () => {
  await using vmm = await startVmm();
  const path = join(vmm.folder, 'disk.raw');
  makeImage(path, 2 ** 20);
  const socket = join(vmm.folder, 'v.sock');
  const memory = { size: 256 * 2 ** 20, shared: true };
  const config = guestConfig({
    memory,
    disks: [{ path }],
    vsock: { cid: 5, socket },
    console: { mode: 'Pty' },
  });
  assertStatus(await vmm.put('vm.create', config), 204);
  // the first boot loads code that stays loaded
  assertStatus(await vmm.put('vm.boot'), 204);
  assertStatus(await vmm.put('vm.shutdown'), 204);
  const open = descriptorsOf(vmm.pid).length;
  let boots = 0;
  // the connection of the request takes one descriptor
  for (let more = 2; more < ENOUGH; more += 1 + Math.floor(more / 12)) {
    limitDescriptors(vmm.pid, more);
    const { status, json } = await vmm.put('vm.boot').finally(() => unlimitDescriptors(vmm.pid));
    if (status === 204) {
      boots++;
      limitDescriptors(vmm.pid, more);
      const again = await vmm.put('vm.reboot').finally(() => unlimitDescriptors(vmm.pid));
      if (again.status === 204) assertStatus(await vmm.put('vm.shutdown'), 204);
      else assertStatus(again, 500);
    } else {
      assert.equal(status, 500, JSON.stringify(json));
      assert.ok(Array.isArray(json) && json.length > 1, JSON.stringify(json));
    }
    assert.equal(await stateOf(vmm), 'Shutdown');
    assert.deepEqual(childrenOf(vmm.pid), []);
    assert.ok(!existsSync(socket));
    await until(
      'nothing is left open',
      () => descriptorsOf(vmm.pid).length <= open,
      () => descriptorsOf(vmm.pid).join(' '),
    );
  }
  assert.ok(boots > 0, 'none had enough descriptors');
  assertStatus(await vmm.put('vm.boot'), 204);
});

test('a refused boot closes kernel and initramfs', async () => {
  await using vmm = await startVmm();
  // less memory than the loaded kernel takes
  const config = guestConfig({ memory: { size: 32 * 2 ** 20 } });
  assertStatus(await vmm.put('vm.create', config), 204);
  for (let i = 0; i < 5; i++) {
    const { status, json } = await vmm.put('vm.boot');
    assert.equal(status, 500);
    assert.match(JSON.stringify(json), /of RAM is too small: the kernel/);
    const bootFiles = descriptorsOf(vmm.pid).filter((target) => /kernel|initramfs|vmlinu/.test(target));
    assert.deepEqual(bootFiles, []);
  }
});

test('a limit of file sizes is an error of the boot, and no signal that ends QEMU', async () => {
  await using vmm = await startVmm({ through: ['prlimit', `--fsize=${64 * 2 ** 20}`] });
  const config = guestConfig({ memory: { size: 256 * 2 ** 20, shared: true } });
  assertStatus(await vmm.put('vm.create', config), 204);
  const { status, json } = await vmm.put('vm.boot');
  assert.equal(status, 500);
  assert.match(JSON.stringify(json), /File too large/);
  assert.equal(await stateOf(vmm), 'Created');
});

test('a QEMU or setpriv that cannot start is named with the reason', async () => {
  const folder = makeFolder();
  const file = (name: string, text: string, mode: number): string => {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), mode);
    return join(folder, name);
  };
  const bare = join(folder, 'bin');
  mkdirSync(bare);
  for (const name of ['sh', 'qemu-system-x86_64']) symlinkSync('/bin/true', join(bare, name));
  const cases: readonly (readonly [env: NodeJS.ProcessEnv, reason: RegExp])[] = [
    [{ NEPHOS_QEMU: join(folder, 'none') }, /NEPHOS_QEMU=.*none: no such file or directory/],
    [{ NEPHOS_QEMU: file('text', 'text', 0o600) }, /NEPHOS_QEMU=.*text: is not executable/],
    [{ NEPHOS_QEMU: folder }, /NEPHOS_QEMU=.*: is not a file/],
    [{ NEPHOS_QEMU: file('broken', '\x7fELF', 0o700) }, /broken/],
    [{ NEPHOS_QEMU: file('lost', '#!/no/such/program\n', 0o700) }, /lost/],
    [{ NEPHOS_QEMU: file('short', '#!/bin/sh\necho "no way" >&2; exit 3\n', 0o700) }, /no way/],
    [{ PATH: bare }, /setpriv was not found/],
    [{ PATH: join(folder, 'empty'), NEPHOS_QEMU: undefined }, /qemu-system-x86_64 was not found/],
  ];
  for (const [env, reason] of cases) {
    await using vmm = await startVmm({ env });
    assertStatus(await vmm.put('vm.create', guestConfig()), 204);
    for (let i = 0; i < 2; i++) {
      const answer = await vmm.put('vm.boot');
      assertRefused(answer, 500, reason);
      assert.equal(await stateOf(vmm), 'Created');
    }
    assert.deepEqual(childrenOf(vmm.pid), []);
    assert.deepEqual(readdirSync(vmm.folder), ['api.sock']);
    assertStatus(await vmm.put('vmm.shutdown'), 204);
    assert.equal(await vmm.exited, 0);
  }
});
