// Operations after live snapshots in which the VM continues in its QEMU, whose RAM is frozen. Needs root: the guest has a TAP.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, statSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { boot } from '../support/boot.ts';
import { interfaceName } from '../support/host-network.ts';
import {
  assertCleanDisk,
  bootLiveGuest,
  endWriters,
  startWriters,
  writersProgress,
  type Writer,
} from '../support/live/live-guest.ts';
import { qemusOf, restoreCopy, takeLive } from '../support/live/live-snapshot.ts';
import { migrate } from '../support/migration.ts';
import { openShell } from '../support/shell.ts';
import { restore, takeSnapshot } from '../support/snapshots.ts';
import { infoOf, ptyOf } from '../support/vm-info.ts';
import { startVmm } from '../support/vmm.ts';
import { until } from '../support/wait.ts';

const MIB = 2 ** 20;
const WRITERS: readonly Writer[] = ['memory', 'file'];
const FILL =
  'dd if=/dev/urandom of=/run/filled bs=1M count=24 2>/dev/null; md5sum /run/filled >/run/filled.md5';
const COMPARE = 'md5sum -c /run/filled.md5 >/dev/null 2>&1 && echo whole';

test('operations of a VM after a live snapshot', async (t) => {
  await using vmm = await startVmm();
  await using other = await startVmm();
  const guest = await bootLiveGuest(vmm, {
    data: { num_queues: 2, direct: true },
    more: {
      cpus: { boot_vcpus: 2, max_vcpus: 2 },
      memory: { size: 256 * MIB, hotplug_size: 1024 * MIB, thp: true },
      balloon: { size: 0 },
    },
  });
  let { shell } = guest;
  await startWriters(guest, WRITERS);
  await shell.run(FILL);
  const [qemu] = qemusOf(vmm);
  let number = 0;
  const works = async (): Promise<void> => {
    await writersProgress(shell, WRITERS);
    assert.equal(await shell.run(COMPARE), 'whole');
  };
  const takeNext = async (): Promise<string> => {
    const folder = join(vmm.folder, `live${++number}`);
    const answer = await takeLive(vmm, folder);
    assert.deepEqual([answer.method, answer.reason], ['remap', undefined]);
    t.diagnostic(`pause ${answer.pause_ms.toFixed(1)} ms`);
    assert.deepEqual(qemusOf(vmm), [qemu]);
    await works();
    return folder;
  };
  const snapshot = async (name: string, members: object): Promise<string> => {
    const folder = join(vmm.folder, name);
    mkdirSync(folder);
    const answer = await vmm.put('vm.snapshot', { destination_url: `file://${folder}`, ...members });
    assert.ok(answer.status < 300, JSON.stringify(answer.json));
    return folder;
  };
  const restoresWhole = async (folder: string): Promise<void> => {
    const copy = join(vmm.folder, 'copy.raw');
    copyFileSync(guest.disk, copy);
    using restored = await restoreCopy(other, folder, { disk: copy, tap: interfaceName() });
    await writersProgress(restored, ['memory']);
    assert.equal(await restored.run(COMPARE), 'whole');
    assertStatus(await other.put('vm.delete'), 204);
  };

  await t.test('live snapshot, pause and resume', async () => {
    const folder = await takeNext();
    await restoresWhole(folder);
    assertStatus(await vmm.put('vm.pause'), 204);
    assertStatus(await vmm.put('vm.resume'), 204);
    await works();
  });
  await t.test('differential and full snapshots', async () => {
    const live = await snapshot('live-diff', { live: true, snapshot_type: 'diff' });
    await restoresWhole(live);
    await shell.run(FILL);
    assertStatus(await vmm.put('vm.pause'), 204);
    const diff = await snapshot('diff', { snapshot_type: 'diff' });
    t.diagnostic(`a difference of ${statSync(join(diff, 'memory-ranges')).blocks / 2048} MiB`);
    await restoresWhole(diff);
    const full = await takeSnapshot(vmm, join(vmm.folder, 'full'));
    assertStatus(await vmm.put('vm.resume'), 204);
    await restoresWhole(full);
    await works();
    await shell.run(FILL);
    const next = await snapshot('live-diff2', { live: true, snapshot_type: 'diff' });
    t.diagnostic(`a difference of ${statSync(join(next, 'memory-ranges')).blocks / 2048} MiB`);
    await restoresWhole(next);
    await works();
  });
  await t.test('RAM that is added is frozen, and runs on', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_ram: 512 * MIB }), 204);
    await shell.run(
      'for f in /sys/devices/system/memory/memory*/online; do echo 1 >$f 2>/dev/null; done; true',
    );
    const seen = "awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo";
    await until('the guest has the RAM', async () => Number(await shell.run(seen)) > 400);
    await shell.run(
      'dd if=/dev/urandom of=/run/filled bs=1M count=64 2>/dev/null; md5sum /run/filled >/run/filled.md5',
    );
    await restoresWhole(await takeNext());
    await restoresWhole(await takeNext());
  });
  await t.test('a balloon inflates and deflates', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_balloon: 64 * MIB }), 204);
    const actual = async (): Promise<number> => (await infoOf(vmm)).memory_actual_size ?? 0;
    const all = 512 * MIB;
    await until(
      'the balloon is full',
      async () => (await actual()) === all - 64 * MIB,
      () => vmm.output().slice(-3000),
    );
    await works();
    await restoresWhole(await takeNext());
    assertStatus(await vmm.put('vm.resize', { desired_balloon: 0 }), 204);
    await until('the balloon is empty', async () => (await actual()) === all);
    await restoresWhole(await takeNext());
  });
  await t.test('a vsock and a shared folder are added', async () => {
    const share = join(vmm.folder, 'share');
    mkdirSync(share);
    assertStatus(
      await vmm.put('vm.add-vsock', { cid: 3, socket: join(vmm.folder, 'vsock'), id: 'vsock' }),
      200,
    );
    const added = await vmm.put('vm.add-fs', { tag: 'shared', directory: share, id: 'shared' });
    assertStatus(added, 200);
    await shell.run(
      'mkdir -p /mnt; until mount -t virtiofs shared /mnt 2>/dev/null; do sleep 0.1; done; cp /run/filled /mnt/a; sync',
    );
    assert.equal(await shell.run('cmp /run/filled /mnt/a && echo same'), 'same');
    await shell.run('umount /mnt');
    const { method, reason } = await takeLive(vmm, join(vmm.folder, 'with-fs'));
    assert.equal(method, 'copy');
    assert.match(reason ?? '', /needs shared memory/);
    await works();
    for (const id of ['shared', 'vsock']) assertStatus(await vmm.put('vm.remove-device', { id }), 204);
    await until(
      'they are removed',
      async () =>
        (await infoOf(vmm)).config.vsock === undefined && ((await infoOf(vmm)).config.fs ?? []).length === 0,
    );
    await works();
  });
  await t.test('a core dump', async () => {
    assertStatus(await vmm.put('vm.pause'), 204);
    const path = join(vmm.folder, 'core');
    assertStatus(await vmm.put('vm.coredump', { destination_url: `file://${path}` }), 204);
    assert.ok(statSync(path).size > 500 * MIB);
    rmSync(path);
    assertStatus(await vmm.put('vm.resume'), 204);
    await works();
  });
  await t.test('the programs of the guest find all their data, and a reboot', async () => {
    await endWriters({ shell }, WRITERS);
    assertCleanDisk(guest.disk);
    assertStatus(await vmm.put('vm.reboot'), 204);
    shell = openShell(await ptyOf(vmm));
    await shell.login();
    await shell.run(FILL);
    assert.equal((await takeLive(vmm, join(vmm.folder, 'rebooted'))).method, 'remap');
    assert.equal(await shell.run(COMPARE), 'whole');
  });
});

test('migration after a live snapshot, and live snapshots there and back', async (t) => {
  await using vmm = await startVmm();
  await using other = await startVmm();
  await using third = await startVmm();
  let shell = await boot(vmm, { memory: { size: 192 * MIB } });
  await shell.run(FILL);
  let source = vmm;
  for (const [i, destination] of [other, vmm].entries()) {
    const folder = join(source.folder, `live${i}`);
    const { method, reason } = await takeLive(source, folder);
    t.diagnostic(`${method} ${reason ?? ''}`);
    assert.equal(await shell.run(COMPARE), 'whole');
    await migrate(source, destination, `unix:${join(source.folder, 'migration')}`);
    assertStatus(await source.put('vm.delete'), 204);
    shell = openShell(await ptyOf(destination));
    assert.equal(await shell.run(COMPARE), 'whole');
    using restored = await restore(third, folder);
    assert.equal(await restored.run(COMPARE), 'whole');
    assertStatus(await third.put('vm.delete'), 204);
    source = destination;
  }
});
