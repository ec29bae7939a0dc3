// A shared directory under work that goes wrong first: many entries, holes, random access, and renames by both sides.
// tests/slow/fs-programs.test.ts has the long version, and programs of others.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAndBoot, login } from './support/boot.ts';
import { guestConfig } from './support/guest.ts';
import {
  checkManyFiles,
  checkRandomAccess,
  checkRenames,
  checkSparseFile,
  shareOf,
  type Shared,
} from './support/shared-files.ts';
import { startVmm } from './support/vmm.ts';

test('a shared directory under load', async (t) => {
  await using vmm = await startVmm();
  const host = join(vmm.folder, 'shared');
  mkdirSync(host);
  await using share = shareOf('shared', host, vmm.folder);
  const memory = { size: 256 * 2 ** 20, shared: true };
  await createAndBoot(vmm, guestConfig({ memory, fs: [share.config] }, { tools: true }));
  using shell = await login(vmm);
  await shell.run('mkdir -p /mnt && mount -t virtiofs shared /mnt');
  const shared: Shared = { shell, host, guest: '/mnt' };

  await t.test('a directory of 20,000 files is listed whole', () => checkManyFiles(shared, 20_000));
  await t.test('a file of 4 GiB with holes takes no space', () => checkSparseFile(shared));
  await t.test('random reads, writes and truncations give the bytes that were written', () =>
    checkRandomAccess(shared, 2000),
  );
  await t.test('files that host and guest rename at the same time are kept', () => checkRenames(shared, 3));
});
