// Shared directories in snapshots: a guest with open files, a working directory and a writer continues in other VMMs.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import {
  checkWritten,
  GONE,
  hasWritten,
  holdFiles,
  makeShare,
  MANY,
  readHeld,
  startWriter,
} from './support/fs-guest.ts';
import { restore, takeSnapshot } from './support/snapshots.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';

const CLONES = 10;

/** Results of reads, before a snapshot and after a restore in another process. */
const HELD = {
  deleted: 'text of deleted',
  here: 'text of here',
  many: `${MANY + 2} 0`,
  open: 'text of open',
  renamed: 'text of renamed',
  replaced: 'text of replaced',
  unlinked: 'text of unlinked',
  write: '7',
};

/** Restores a snapshot with a copy of the directory: the guest has all its files and continues to write. */
async function continues(clone: TestVmm, snapshot: string, copy: string): Promise<void> {
  using shell = await restore(clone, snapshot, { fs: [{ id: 'src', directory: copy }] });
  await hasWritten(shell, 3);
  assert.deepEqual(await readHeld(shell), HELD);
  await checkWritten(shell, copy);
}

test('a guest with a busy shared directory, in the source, a restored VM and ten clones', async (t) => {
  await using source = await startVmm();
  const share = makeShare(source.folder);
  using shell = await boot(source, { fs: [{ tag: 'src', directory: share, id: 'src' }] }, { tools: true });
  await holdFiles(shell, 'src');
  await startWriter(shell);
  const snapshot = await takeSnapshot(source);
  // as the disks of clones: the directory at the time of the snapshot
  const copies = Array.from({ length: CLONES }, (_, i) => join(source.folder, `copy${i}`));
  for (const copy of copies) cpSync(share, copy, { recursive: true });

  await t.test('the source continues after the snapshot, with an unlinked file', async () => {
    assertStatus(await source.put('vm.resume'), 204);
    assert.deepEqual(await readHeld(shell), HELD);
    await hasWritten(shell, 5);
    assert.ok((await checkWritten(shell, share)) > 5);
    assert.equal(readFileSync(join(share, 'open'), 'latin1').slice(100), 'written');
  });

  await t.test('ten clones at the same time, each with its copy', async () => {
    const clones = await Promise.all(copies.map(() => startVmm()));
    try {
      await Promise.all(clones.map((clone, i) => continues(clone, snapshot, copies[i] ?? '')));
    } finally {
      for (const clone of clones) await clone[Symbol.asyncDispose]();
    }
  });
  assertStatus(await source.put('vm.delete'), 204);

  await t.test('a restored VM reports what is gone on the host for those files alone', async () => {
    await using clone = await startVmm();
    const other = join(clone.folder, 'other');
    cpSync(share, other, { recursive: true });
    rmSync(join(other, 'deleted'));
    renameSync(join(other, 'renamed'), join(other, 'elsewhere'));
    rmSync(join(other, 'replaced'));
    writeFileSync(join(other, 'replaced'), 'another file');
    rmSync(join(other, 'many'), { recursive: true });
    using own = await restore(clone, snapshot, { fs: [{ id: 'src', directory: other }] });
    const held = await readHeld(own);
    for (const name of ['deleted', 'renamed']) assert.match(held[name] ?? '', GONE, name);
    assert.equal(held['open'], 'text of open');
    assert.equal(held['here'], 'text of here');
    assert.equal(await own.run('cat /mnt/elsewhere'), 'text of renamed');
    assert.equal(await own.run('cat /mnt/replaced'), 'another file');
    assert.equal(await own.run('ls /mnt/many 2>&1 | grep -c "No such file"'), '1');
  });
});

test('a restore reads files that changed on the host, and names a directory that is missing', async (t) => {
  await using source = await startVmm();
  const share = makeShare(source.folder);
  using shell = await boot(source, { fs: [{ tag: 'src', directory: share }] });
  await shell.run('mount -t virtiofs src /mnt; cat /mnt/open /mnt/many/*; ls -l /mnt/many');
  const snapshot = await takeSnapshot(source);
  assertStatus(await source.put('vm.delete'), 204);
  await using clone = await startVmm();

  await t.test('without the directory', async () => {
    renameSync(share, `${share}.away`);
    const request = { source_url: `file://${snapshot}` };
    const reason = `fs _fs0: directory ${share}: no such file or directory`;
    assertRefused(await clone.put('vm.restore', request), 500, reason);
    renameSync(`${share}.away`, share);
  });
  await t.test('after changes in the directory', async () => {
    writeFileSync(join(share, 'open'), 'another text, longer');
    writeFileSync(join(share, 'many', 'new'), 'new');
    rmSync(join(share, 'many', 'file0'));
    using own = await restore(clone, snapshot);
    await own.run('until [ -e /mnt/many/new ]; do :; done');
    // attributes and entries that the guest read before the snapshot are valid for a second of its time
    await own.run('until [ "$(stat -c %s /mnt/open)" = 20 ] && [ ! -e /mnt/many/file0 ]; do :; done');
    assert.equal(await own.run('cat /mnt/open'), 'another text, longer');
    assert.equal(await own.run('ls /mnt/many | wc -l'), `${MANY}`);
    assert.equal(await own.run('cat /mnt/many/file0 2>&1 | grep -c -i "no such file"'), '1');
    assert.equal(await own.run('umount /mnt && mount -t virtiofs src /mnt && cat /mnt/many/new'), 'new');
  });
});
