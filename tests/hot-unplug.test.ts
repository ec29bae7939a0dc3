// Hot-unplug: vm.info, ids, slots and host resources of a device until the guest releases it.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addedDevice, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeImage } from './support/images.ts';
import { infoOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const TAP = 'nephos-rm0';

function image(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, name);
  makeImage(path, 2 ** 20);
  return path;
}

/** The ids of a kind of device in the configuration, and those of the tree that the VM has beside `_rng` and the like. */
async function listed(vmm: TestVmm, member: string): Promise<{ config: string[]; tree: string[] }> {
  const { config, device_tree: tree = {} } = await infoOf(vmm);
  const members = (config as Record<string, unknown>)[member];
  const items = (Array.isArray(members) ? members : [members]) as ({ id: string } | undefined)[];
  const ids = items.flatMap((one) => (one === undefined ? [] : [one.id]));
  return { config: ids, tree: Object.keys(tree).filter((name) => ids.includes(name)) };
}

test('20 hot-plugs of the same id, file, TAP and socket right after their removal', async () => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm);
  const path = image(vmm, 'disk, "a" ü.raw');
  const link = join(vmm.folder, 'link');
  symlinkSync(path, link);
  const socket = join(vmm.folder, 'v.sock');
  for (let i = 0; i < 20; i++) {
    const file = i % 2 === 0 ? path : link;
    assertStatus(await vmm.put('vm.add-disk', { path: file, id: i % 3 === 0 ? 'other' : 'one' }), 200);
    if (i % 5 === 0) {
      assertStatus(await vmm.put('vm.add-net', { tap: TAP, id: 'net' }), 200);
      assertStatus(await vmm.put('vm.add-vsock', { cid: 5 + i, socket }), 200);
      const { vsock } = (await infoOf(vmm)).config;
      assertStatus(await vmm.put('vm.remove-device', { id: 'net' }), 204);
      assertStatus(await vmm.put('vm.remove-device', { id: vsock?.id }), 204);
    }
    assertStatus(await vmm.put('vm.remove-device', { id: i % 3 === 0 ? 'other' : 'one' }), 204);
  }
  await until('all are gone', async () => !/"(?:one|other|net)"/.test(JSON.stringify(await infoOf(vmm))));
});

test('a removed device is in configuration and device tree until the guest releases it', async () => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm);
  const path = image(vmm, 'disk.raw');
  for (let i = 0; i < 3; i++) {
    assertStatus(await vmm.put('vm.add-disk', { path, id: 'one' }), 200);
    assertStatus(await vmm.put('vm.remove-device', { id: 'one' }), 204);
    await until('it is gone', async () => {
      const { config, tree } = await listed(vmm, 'disks');
      assert.deepEqual(config, tree);
      return config.length === 0;
    });
    assertStatus(await vmm.put('vm.remove-device', { id: 'one' }), 404);
  }
});

test('removals, also repeated ones, do not affect devices that get the slots next', async () => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm);
  const paths = ['a', 'b', 'c'].map((name) => image(vmm, name));
  for (let i = 0; i < 8; i++) {
    for (const [k, path] of paths.entries()) {
      assertStatus(await vmm.put('vm.add-disk', { path, id: `d${k}` }), 200);
    }
    for (const id of ['d0', 'd1', 'd2']) {
      assertStatus(await vmm.put('vm.remove-device', { id }), 204);
      // the guest's answer may be pending: the device is detached already, or the request is sent again
      const { status } = await vmm.put('vm.remove-device', { id });
      assert.ok(status === 204 || status === 404, String(status));
    }
  }
  assertStatus(await vmm.put('vm.add-disk', { path: paths[0], id: 'last' }), 200);
  await until('the disks are gone, and one is there', async () => {
    const { config, tree } = await listed(vmm, 'disks');
    assert.deepEqual(config, tree);
    return config.join() === 'last';
  });
});

test('a device that the guest ejects is removed, and id, slot and file are free', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const path = image(vmm, 'disk.raw');
  const added = await vmm.put('vm.add-disk', { path, id: 'one' });
  const { bdf } = addedDevice(added);
  const slot = Number.parseInt(bdf.slice(8, 10), 16);
  await shell.run(`echo 0 > /sys/bus/pci/slots/${slot}/power`);
  await until('it is gone', async () => {
    const { config, tree } = await listed(vmm, 'disks');
    assert.deepEqual(config, tree);
    return config.length === 0;
  });
  const again = await vmm.put('vm.add-disk', { path, id: 'one' });
  assert.deepEqual(again.json, { id: 'one', bdf });
});

test('on a full bus a hot-plug waits for the slot of a removed device', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const path = image(vmm, 'shared.raw');
  for (let i = 0; i < 29; i++) {
    assertStatus(await vmm.put('vm.add-disk', { path, readonly: true, id: `d${i}` }), 200);
  }
  assertStatus(await vmm.put('vm.add-disk', { path, readonly: true }), 500);
  // a guest that still initializes the new disks releases none in time
  await until(
    'the guest has them all',
    async () => (await shell.run('ls -d /sys/block/vd* | wc -l')) === '29',
  );
  for (let i = 0; i < 5; i++) {
    assertStatus(await vmm.put('vm.remove-device', { id: `d${i}` }), 204);
    assertStatus(await vmm.put('vm.add-disk', { path, readonly: true }), 200);
  }
});

test('removals in a paused guest: hot-plug, snapshot, restore and reboot', async () => {
  await using vmm = await startVmm();
  using _shell = await boot(vmm);
  const path = image(vmm, 'disk.raw');
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'one' }), 200);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.remove-device', { id: 'one' }), 204);
  assert.deepEqual(await listed(vmm, 'disks'), { config: ['one'], tree: ['one'] });
  assertStatus(await vmm.put('vm.add-disk', { path: image(vmm, 'b.raw'), id: 'one' }), 409);
  assertStatus(await vmm.put('vm.add-disk', { path }), 500);
  const folder = join(vmm.folder, 'snapshot');
  mkdirSync(folder);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}` }), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}` }), 204);
  assert.deepEqual(await listed(vmm, 'disks'), { config: ['one'], tree: ['one'] });
  assertStatus(await vmm.put('vm.resume'), 204);
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'one' }), 200);
  // a device whose removal is pending is not part of the next boot
  assertStatus(await vmm.put('vm.remove-device', { id: 'one' }), 204);
  assertStatus(await vmm.put('vm.reboot'), 204);
  assert.deepEqual(await listed(vmm, 'disks'), { config: [], tree: [] });
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'one' }), 200);
});

test('hot-plugs after removals in a VM that was paused for long', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm);
  const disks = Array.from({ length: 4 }, (_, i) => ({ path: image(vmm, `old${i}`), id: `old${i}` }));
  for (const disk of disks) assertStatus(await vmm.put('vm.add-disk', disk), 200);
  const count = (): Promise<string> => shell.run('ls -d /sys/block/vd* | wc -l');
  await until('the guest has them all', async () => (await count()) === '4');
  assertStatus(await vmm.put('vm.pause'), 204);
  const removed = performance.now();
  for (const { id } of disks) assertStatus(await vmm.put('vm.remove-device', { id }), 204);
  assert.ok(performance.now() - removed < 5000, 'a paused guest is not waited for');
  await until('the guest would have released them, if it ran', () => performance.now() - removed > 6000);
  assertStatus(await vmm.put('vm.resume'), 204);
  const added = Array.from({ length: 6 }, (_, i) => `new${i}`);
  for (const id of added) assertStatus(await vmm.put('vm.add-disk', { path: image(vmm, id), id }), 200);
  await until('the guest has the new ones', async () => (await count()) === '6');
  assert.deepEqual(await listed(vmm, 'disks'), { config: added, tree: added });
  assert.doesNotMatch(vmm.output(), /ejected it by itself/);
});
