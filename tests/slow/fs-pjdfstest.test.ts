// pjdfstest in a shared directory, of a VMM that is root and of one that is an ordinary user. Needs root, and cargo the first time.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { boot } from '../support/boot.ts';
import { INITRAMFS_WITH_TOOLS, KERNEL } from '../support/guest.ts';
import { makePjdfstestRoot, runPjdfstest } from '../support/pjdfstest.ts';
import { shareByVirtiofsd } from '../support/shared-files.ts';
import { startVmm } from '../support/vmm.ts';

/** Fewest tests that pass where nothing is wrong: a run without users, or without the right to mount, skips many. */
const MOST_TESTS = 380;

const MEMORY = { size: 512 * 2 ** 20, shared: true };

test('a directory passes pjdfstest as one of virtiofsd does, beside it in the same guest', async (t) => {
  await using vmm = await startVmm();
  const [own, other] = [join(vmm.folder, 'own'), join(vmm.folder, 'other')];
  for (const directory of [own, other]) await makePjdfstestRoot(directory);
  await using reference = shareByVirtiofsd('other', other, vmm.folder);
  using shell = await boot(vmm, { memory: MEMORY, fs: [{ tag: 'own', directory: own }, reference.config] });
  const theirs = await runPjdfstest(shell, 'other');
  const { failed, passed } = await runPjdfstest(shell, 'own');
  t.diagnostic(`virtiofsd: ${theirs.passed} passed, failed: ${theirs.failed.join('; ') || 'none'}`);
  assert.deepEqual(failed, []);
  assert.ok(passed >= MOST_TESTS, `${passed} passed`);
});

test('a directory of an ordinary user, with owners in extended attributes, passes pjdfstest', async () => {
  const user = 1234;
  const home = mkdtempSync(join(tmpdir(), 'user-'));
  try {
    const directory = join(home, 'shared');
    await makePjdfstestRoot(directory);
    const [kernel, initramfs] = [join(home, 'kernel'), join(home, 'initramfs')];
    copyFileSync(KERNEL, kernel);
    copyFileSync(INITRAMFS_WITH_TOOLS, initramfs);
    execFileSync('chown', ['-R', `${user}:${user}`, home]);
    await using vmm = await startVmm({
      socket: join(home, 'api.sock'),
      through: ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', '--'],
    });
    const payload = { kernel: { path: kernel }, initramfs: { path: initramfs } };
    using shell = await boot(vmm, { ...payload, memory: MEMORY, fs: [{ tag: 'own', directory }] });
    const { failed, passed } = await runPjdfstest(shell, 'own');
    assert.deepEqual(failed, []);
    assert.ok(passed >= MOST_TESTS, `${passed} passed`);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
