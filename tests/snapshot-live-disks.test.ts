// Faults while disks are copied in a live snapshot: kills, a full target, and guests that reset, power off or lose the disk.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { addedDevice, assertRefused, assertStatus, type Answer } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeAllocatedImage } from './support/images.ts';
import { observeLive, untilHit, type Observed } from './support/live/live-faults.ts';
import { qemusOf, takeLive } from './support/live/live-snapshot.ts';
import { isAlive } from './support/processes.ts';
import type { Shell } from './support/shell.ts';
import { SNAPSHOT_FILES } from './support/snapshots.ts';
import { infoOf, stateOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** A copy of it takes some hundred milliseconds. */
const DISK_BYTES = 384 * MIB;

/** Writes to the disk in the guest, and prints the number of errors. */
const WRITE = 'dd if=/dev/zero of=/dev/vda bs=1M count=8 conv=fsync 2>&1 | grep -c error';

const home = makeFolder();
const image = join(home, 'disk.raw');
before(() => void makeAllocatedImage(image, DISK_BYTES));
after(() => rmSync(home, { recursive: true, force: true }));

/** Boots a guest that has the disk. */
function bootWithDisk(vmm: TestVmm): Promise<Shell> {
  const disks = [{ path: image, image_type: 'Raw', id: 'data' }];
  return boot(vmm, { memory: { size: 128 * MIB }, disks });
}

test('a VMM that is killed while a disk is copied: the next snapshot removes what it left', async () => {
  const folder = join(home, 'killed');
  await untilHit('the copy', async () => {
    rmSync(folder, { recursive: true, force: true });
    await using vmm = await startVmm();
    using _shell = await bootWithDisk(vmm);
    const [qemu = 0] = qemusOf(vmm);
    const act = (): void => vmm.kill('SIGKILL');
    await observeLive(vmm, folder, { phase: 'copying disks', act, disks: 'copy' });
    await vmm.exited;
    await until('QEMU is gone', () => !isAlive(qemu));
    return !existsSync(join(folder, 'manifest.json'));
  });
  const left = readdirSync(folder);
  assert.ok(left.includes('snapshot.lock') && left.includes('disk-data.raw'), left.join());
  await using vmm = await startVmm();
  const refused = await vmm.put('vm.restore', { source_url: `file://${folder}` });
  assertRefused(refused, 500, /is no whole snapshot|no such file/i);
  using shell = await bootWithDisk(vmm);
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}` }), 204);
  assert.deepEqual(readdirSync(folder).toSorted(), SNAPSHOT_FILES);
  assertStatus(await vmm.put('vm.resume'), 204);
  assert.equal(await shell.run('echo alive'), 'alive');
});

/** Takes live snapshots with the disks into a folder until `act` was called while they were copied, and returns that one. */
async function copyDisks(vmm: TestVmm, folder: string, act: () => void): Promise<Observed> {
  let observed: Observed | undefined;
  await untilHit('the copy', async () => {
    rmSync(folder, { recursive: true, force: true });
    observed = await observeLive(vmm, folder, { phase: 'copying disks', act, disks: 'copy' });
    return observed.isHit;
  });
  assert.ok(observed !== undefined);
  return observed;
}

test('faults of guest, host and client while disks are copied', async (t) => {
  await using vmm = await startVmm();
  using shell = await bootWithDisk(vmm);
  const folder = join(vmm.folder, 'live');

  await t.test('a full target fails the snapshot, not the guest', async () => {
    const small = join(vmm.folder, 'small');
    mkdirSync(small);
    // the RAM has space, the disk has none
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m', 'none', small]);
    const request = { destination_url: `file://${small}`, live: true, disks: 'copy' };
    const [answer, errors] = await Promise.all([vmm.put('vm.snapshot', request), shell.run(WRITE)]);
    const names = readdirSync(small);
    // the files are closed in the background
    await until('the file system is free', () => {
      execFileSync('umount', [small], { stdio: 'pipe' });
      return true;
    });
    assertRefused(answer, 500, /disk data: cannot be copied into disk-data\.raw: .*no space left/i);
    assert.deepEqual([errors, names], ['0', []]);
    assert.equal(await stateOf(vmm), 'Running');
    assert.equal(await shell.run(WRITE), '0');
  });

  const path = join(vmm.folder, 'added.raw');
  makeAllocatedImage(path, DISK_BYTES / 4);
  const add = async (): Promise<string> => {
    const answer = await vmm.put('vm.add-disk', { path, image_type: 'Raw', id: 'added' });
    const { bdf } = addedDevice(answer);
    await shell.run('until [ -b /dev/vdb ]; do :; done');
    return bdf;
  };
  const isRemoved = async (): Promise<boolean> => (await infoOf(vmm)).config.disks?.length === 1;

  await t.test('vm.remove-device of a disk waits until its copy is complete', async () => {
    await add();
    const removals: Promise<Answer>[] = [];
    const act = (): void => void removals.push(vmm.put('vm.remove-device', { id: 'added' }));
    const { outcome } = await copyDisks(vmm, folder, act);
    assert.equal(outcome, 'complete');
    for (const answer of removals) assertStatus(await answer, 204);
    await until('the disk is removed', isRemoved);
    assert.ok(readFileSync(join(folder, 'disk-added.raw')).equals(readFileSync(path)));
  });

  await t.test('a disk that the guest ejects is copied, and removed afterwards', async () => {
    const slot = Number.parseInt((await add()).slice(8, 10), 16);
    const act = (): void => shell.type(`echo 0 >/sys/bus/pci/slots/${slot}/power\r`);
    const { outcome } = await copyDisks(vmm, folder, act);
    await until('the disk is removed', isRemoved);
    if (outcome === 'complete') {
      assert.ok(readFileSync(join(folder, 'disk-added.raw')).equals(readFileSync(path)));
    } else {
      assert.deepEqual(readdirSync(folder), []);
    }
    assert.equal(await shell.run('[ -b /dev/vdb ] || echo gone'), 'gone');
    // QEMU has no node of it left: its id and its file are free
    await add();
    assert.equal((await takeLive(vmm, join(vmm.folder, 'next'), { disks: 'copy' })).disks?.length, 2);
  });

  await t.test('vm.reboot waits until the copies are complete', async () => {
    const reboots: Promise<Answer>[] = [];
    const act = (): void => void reboots.push(vmm.put('vm.reboot'));
    const { outcome } = await copyDisks(vmm, folder, act);
    assert.equal(outcome, 'complete');
    for (const answer of reboots) assertStatus(await answer, 204);
    await shell.login();
  });

  await t.test('a guest that resets itself boots again, and no file is left', async () => {
    await untilHit('a reset before the end of the copy', async () => {
      const { outcome, error } = await copyDisks(vmm, folder, () =>
        shell.type('echo b >/proc/sysrq-trigger\r'),
      );
      await shell.login();
      if (outcome === 'complete') return false;
      assert.match(String(error), /the guest has reset itself/i);
      return true;
    });
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(qemusOf(vmm).length, 1);
    assert.equal(await shell.run(WRITE), '0');
  });

  await t.test('a guest that powers off: the VMM exits, and leaves no incomplete snapshot', async () => {
    const { outcome } = await copyDisks(vmm, folder, () => shell.type('poweroff -f\r'));
    assert.equal(await vmm.exited, 0);
    assert.deepEqual(qemusOf(vmm), []);
    const names = readdirSync(folder);
    // the VMM may exit before the answer is read
    const isWhole = names.includes('manifest.json') && !names.includes('snapshot.lock');
    assert.ok(names.length === 0 || (isWhole && outcome !== 'failed'), names.join());
  });
});
