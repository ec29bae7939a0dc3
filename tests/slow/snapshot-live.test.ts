// A hundred live snapshots in a row under load, restored copies of a database, and kills of the processes.
import assert from 'node:assert/strict';
import { constants, copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { interfaceName } from '../support/host-network.ts';
import { killsInLive } from '../support/live/live-kills.ts';
import {
  assertCleanDisk,
  bootLiveGuest,
  endWriters,
  startConsoleEcho,
  startTcpEcho,
  startWriters,
  whileFrozen,
  writersProgress,
  type Writer,
} from '../support/live/live-guest.ts';
import { restoreCopy, takeLive } from '../support/live/live-snapshot.ts';
import { startVmm } from '../support/vmm.ts';

const WRITERS: readonly Writer[] = ['memory', 'file', 'database'];

test('a hundred live snapshots in a row lose no byte of console or TCP stream', async (t) => {
  await using vmm = await startVmm();
  const guest = await bootLiveGuest(vmm, { database: true });
  using shell = guest.shell;
  await startWriters(guest, WRITERS);
  using tcp = await startTcpEcho(guest);
  using console = await startConsoleEcho(guest);
  const streams = [tcp, console];
  const folder = join(vmm.folder, 'live');
  const pauses: number[] = [];
  const methods = new Set<string>();
  for (let i = 1; i <= 100; i++) {
    const { method, reason, pause_ms: pause } = await takeLive(vmm, folder);
    methods.add(reason === undefined ? method : `${method}: ${reason}`);
    pauses.push(pause);
    for (const stream of streams) await stream.flows();
    rmSync(folder, { recursive: true });
    if (i % 10 === 0) await writersProgress(shell, WRITERS);
  }
  t.diagnostic(`pauses in ms: ${pauses.map((ms) => ms.toFixed(0)).join(' ')}`);
  assert.deepEqual([...methods], ['remap']);
  for (const stream of streams) await stream.finish();
  await endWriters(guest, WRITERS);
  assertStatus(await vmm.put('vm.delete'), 204);
  assertCleanDisk(guest.disk);
});

test('ten restored copies of live snapshots have a whole file system and database', async () => {
  await using vmm = await startVmm();
  await using other = await startVmm();
  const guest = await bootLiveGuest(vmm, { database: true });
  using shell = guest.shell;
  await startWriters(guest, WRITERS);
  const [folder, copy] = [join(vmm.folder, 'live'), join(vmm.folder, 'copy.raw')];
  for (let i = 1; i <= 10; i++) {
    await writersProgress(shell, WRITERS);
    await whileFrozen(shell, async () => {
      await takeLive(vmm, folder);
      copyFileSync(guest.disk, copy, constants.COPYFILE_FICLONE);
    });
    using restored = await restoreCopy(other, folder, { disk: copy, tap: interfaceName() });
    await restored.run('fsfreeze -u /d');
    await writersProgress(restored, WRITERS);
    await endWriters({ shell: restored }, WRITERS);
    assertStatus(await other.put('vm.delete'), 204);
    assertCleanDisk(copy);
    rmSync(folder, { recursive: true });
  }
});

test('twenty kills during live snapshots', (context) => killsInLive(context, 20));
