// Live migration of a guest that writes to a shared directory: over a UNIX socket, and back over TCP together with a vsock.
import assert from 'node:assert/strict';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus, messagesOf } from './support/answers.ts';
import { boot } from './support/boot.ts';
import {
  checkWritten,
  hasWritten,
  holdFiles,
  makeShare,
  MANY,
  readHeld,
  startWriter,
} from './support/fs-guest.ts';
import { migrate, tryMigration } from './support/migration.ts';
import { freePort } from './support/ports.ts';
import { openShell, type Shell } from './support/shell.ts';
import { ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm } from './support/vmm.ts';
import { exchange, startEcho } from './support/vsock.ts';

const ECHO_PORT = 16;

/** Checks that the guest still has all files that it holds open, one of which it has unlinked. */
async function holdsAll(shell: Shell): Promise<void> {
  const held = await readHeld(shell);
  for (const name of ['open', 'deleted', 'replaced', 'renamed', 'unlinked', 'here'])
    assert.equal(held[name], `text of ${name}`);
  assert.equal(held['many'], `${MANY + 2} 0`);
  assert.equal(held['write'], '7');
}

test('a live migration of a guest with a busy shared directory, and back', async (t) => {
  const [sourceFolder, destinationFolder] = [makeFolder(), makeFolder()];
  // the path of the vsock is relative: each VMM makes the socket in its own folder
  await using source = await startVmm({ through: ['env', '--chdir', sourceFolder] });
  await using destination = await startVmm({ through: ['env', '--chdir', destinationFolder] });
  const share = makeShare(source.folder);
  using shell = await boot(source, { fs: [{ tag: 'src', directory: share }] }, { tools: true });
  await holdFiles(shell, 'src');
  await startWriter(shell);
  const url = `unix:${join(destination.folder, 'migration')}`;

  await t.test('a destination without the directory refuses, and the guest continues', async () => {
    renameSync(share, `${share}.away`);
    const { sent, received } = await tryMigration(source, destination, url);
    renameSync(`${share}.away`, share);
    for (const answer of [sent, received]) {
      assertStatus(answer, 500);
      assert.match(messagesOf(answer).join('\n'), /directory .*: no such file or directory/);
    }
    await hasWritten(shell, 5);
    await holdsAll(shell);
  });

  await migrate(source, destination, url);
  using moved = openShell(await ptyOf(destination));
  await t.test('the guest continues to read and write at the destination', async () => {
    await hasWritten(moved, 5);
    await holdsAll(moved);
  });
  await t.test('vm.delete of the source changes nothing', async () => {
    assertStatus(await source.put('vm.delete'), 204);
    await hasWritten(moved, 5);
    await holdsAll(moved);
  });

  assertStatus(await destination.put('vm.add-vsock', { cid: 5, socket: 'v.sock' }), 200);
  await startEcho(moved, ECHO_PORT);
  await migrate(destination, source, `tcp:127.0.0.1:${await freePort()}`);
  using back = openShell(await ptyOf(source));
  await t.test('the guest continues with both devices after a migration back over TCP', async () => {
    await hasWritten(back, 5);
    await holdsAll(back);
    const answer = await exchange(join(sourceFolder, 'v.sock'), `CONNECT ${ECHO_PORT}\nhello`);
    assert.match(answer, /^OK \d+\nhello$/);
  });
  await t.test('all files have the bytes that the guest has written', async () => {
    assert.ok((await checkWritten(back, share)) > 20);
  });
  await t.test('the guest reboots and mounts the directory again', async () => {
    assertStatus(await source.put('vm.reboot'), 204);
    await back.login();
    assert.equal(await back.run('mount -t virtiofs src /mnt && cat /mnt/deep/working/here'), 'text of here');
  });
  for (const folder of [sourceFolder, destinationFolder]) rmSync(folder, { recursive: true });
});
