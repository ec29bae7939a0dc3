// Snapshots of a running VM, which notices only a pause: its RAM, disk, network and consoles are in use.
import assert from 'node:assert/strict';
import { copyFileSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { VmCounters } from '../src/api/replies.ts';
import { composeSnapshot } from '../src/sdk/compose-snapshot.ts';
import { assertRefused, assertStatus } from './support/answers.ts';
import { createAndBoot } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import { interfaceName } from './support/host-network.ts';
import { makeImage } from './support/images.ts';
import {
  assertCleanDisk,
  bootLiveGuest,
  endWriters,
  SECOND,
  startConsoleEcho,
  startTcpEcho,
  startWriters,
  writersProgress,
  type Writer,
} from './support/live/live-guest.ts';
import { fillDiskInLive, killTwinAtOnce } from './support/live/live-kills.ts';
import { qemusOf, restoreCopy, takeLive } from './support/live/live-snapshot.ts';
import { countersOf, infoOf, stateOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
const WRITERS: readonly Writer[] = ['memory', 'file'];

/** Returns whether no counter of bytes, frames or requests is below its earlier value. */
function continues(before: VmCounters, after: VmCounters): boolean {
  return Object.entries(before).every(([device, counters]) =>
    Object.entries(counters).every(
      ([name, value]) => !/bytes|frames|ops/.test(name) || (after[device]?.[name] ?? 0) >= value,
    ),
  );
}

test('live snapshots of a VM whose RAM, disk, network and consoles are in use', async (t) => {
  await using vmm = await startVmm();
  const guest = await bootLiveGuest(vmm, { second: true });
  using shell = guest.shell;
  await startWriters(guest, WRITERS);
  using tcp = await startTcpEcho(guest);
  using console = await startConsoleEcho(guest);
  const config = JSON.stringify((await infoOf(vmm)).config);
  const [first] = qemusOf(vmm);

  await t.test('the VM continues in its QEMU', async () => {
    const before = await countersOf(vmm);
    const { method, reason } = await takeLive(vmm, join(vmm.folder, 'first'));
    assert.deepEqual([method, reason], ['remap', undefined]);
    assert.deepEqual(qemusOf(vmm), [first]);
    assert.equal(await stateOf(vmm), 'Running');
    assert.equal(JSON.stringify((await infoOf(vmm)).config), config);
    // a busy QEMU answers late: then vm.counters has the last known values, and a new QEMU has none yet
    await until('the counters continue', async () => continues(before, await countersOf(vmm)));
  });

  await t.test('a device that was added before is removed after it', async () => {
    const path = makeImage(join(vmm.folder, 'added.raw'), 4 * MIB, 'added later');
    assertStatus(await vmm.put('vm.add-disk', { path, id: 'later' }), 200);
    await shell.run('until [ -b /dev/vdc ]; do :; done');
    assert.equal((await takeLive(vmm, join(vmm.folder, 'second'))).method, 'remap');
    assert.equal(await shell.run('head -c 11 /dev/vdc'), 'added later');
    assertStatus(await vmm.put('vm.remove-device', { id: 'later' }), 204);
    await until('the disk is removed', async () => (await infoOf(vmm)).config.disks?.length === 2);
  });

  await t.test('the VM goes on, and no file is left, when the disk is full', () =>
    fillDiskInLive(vmm, shell),
  );

  const third = join(vmm.folder, 'third');
  const composed = join(vmm.folder, 'composed');
  const copies = { disk: join(vmm.folder, 'copy.raw'), second: join(vmm.folder, 'copy.qcow2') };
  await t.test('a snapshot has the disks as they were in the pause', async () => {
    const { method, disks } = await takeLive(vmm, third, { disks: 'copy' });
    assert.equal(method, 'remap');
    const files = ['disk-data.raw', `disk-${encodeURIComponent(SECOND)}.qcow2`];
    assert.deepEqual(disks, [
      { id: 'data', file: files[0] },
      { id: SECOND, file: files[1] },
    ]);
    await composeSnapshot(third, composed);
    for (const [i, path] of [copies.disk, copies.second].entries()) {
      copyFileSync(join(composed, files[i] ?? ''), path, constants.COPYFILE_FICLONE);
    }
    // holes stay holes
    for (const folder of [third, composed]) {
      const { blocks, size } = statSync(join(folder, 'disk-data.raw'));
      assert.ok(blocks * 512 < size / 4, `${blocks} blocks`);
    }
  });

  await t.test('no byte of a TCP stream or of a console is lost', async () => {
    for (const stream of [tcp, console]) {
      await stream.flows();
      await stream.finish();
    }
  });

  await t.test('the programs of the guest find all their data', async () => {
    await writersProgress(shell, WRITERS);
    await endWriters(guest, WRITERS);
    assertStatus(await vmm.put('vm.delete'), 204);
    assertCleanDisk(guest.disk);
  });

  await t.test('a restore does not let the guest write to the disks of the snapshot', async () => {
    for (const folder of [third, composed]) {
      const overrides = { disks: [{ id: 'data', path: join(folder, 'disk-data.raw') }] };
      const refused = await vmm.put('vm.restore', { source_url: `file://${folder}`, overrides });
      assertRefused(refused, 400, /disk data: .*disk-data\.raw is part of the snapshot/);
    }
  });

  await t.test('a restored copy is consistent, and continues in another QEMU', async () => {
    using restored = await restoreCopy(vmm, composed, { ...copies, tap: interfaceName() });
    await writersProgress(restored, WRITERS);
    // its RAM is a private mapping of the snapshot, which must not change
    await killTwinAtOnce(vmm, restored);
    const [before] = qemusOf(vmm);
    const { method, reason } = await takeLive(vmm, join(vmm.folder, 'of-copy'));
    assert.equal(method, 'twin');
    assert.match(reason ?? '', /its file is not in memory/);
    assert.notEqual(qemusOf(vmm)[0], before);
    await writersProgress(restored, WRITERS);
    await endWriters({ shell: restored }, WRITERS);
    assertStatus(await vmm.put('vm.delete'), 204);
    assertCleanDisk(copies.disk);
    assertCleanDisk(copies.second);
  });
});

test('a VM whose RAM has no file is paused while the RAM is copied', async () => {
  await using vmm = await startVmm();
  const disk = makeImage(join(vmm.folder, 'disk.raw'), 8 * MIB, 'contents');
  await createAndBoot(
    vmm,
    guestConfig({
      memory: { size: 128 * MIB, mergeable: true },
      disks: [{ path: disk, image_type: 'Raw', id: 'data' }],
    }),
  );
  const [qemu] = qemusOf(vmm);
  const folder = join(vmm.folder, 'snapshot');
  const { method, reason } = await takeLive(vmm, folder, { disks: 'copy' });
  assert.ok(readFileSync(join(folder, 'disk-data.raw')).equals(readFileSync(disk)));
  assert.equal(method, 'copy');
  assert.match(reason ?? '', /memory: it has no file/);
  assert.deepEqual(qemusOf(vmm), [qemu]);
  assert.equal(await stateOf(vmm), 'Running');
  assert.ok(readdirSync(folder).includes('manifest.json'));
  assertStatus(await vmm.put('vm.pause'), 204);
  const alone = await vmm.put('vm.snapshot', { destination_url: `file://${vmm.folder}`, disks: 'copy' });
  assertRefused(alone, 400, /"disks": "copy" needs "live": true/);
  const paused = await takeLive(vmm, join(vmm.folder, 'paused'), { disks: 'copy' });
  assert.deepEqual([paused.method, paused.disks?.length], ['copy', 1]);
  assert.equal(await stateOf(vmm), 'Paused');
});
