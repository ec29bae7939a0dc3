// 50 generations of a guest whose RAM and devices change at random, each saved as a differential snapshot and restored. A chain in huge
// pages is composed, which needs root and 256 MiB for them.
import assert from 'node:assert/strict';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { composeSnapshot } from '../../src/sdk/index.ts';
import { assertStatus } from '../support/answers.ts';
import { boot } from '../support/boot.ts';
import { withHugePages } from '../support/huge-pages.ts';
import { KILL_SEED, randomFrom } from '../support/random.ts';
import { openShell } from '../support/shell.ts';
import { runGenerations, saveAs } from '../support/snapshot-chains.ts';
import { ptyOf } from '../support/vm-info.ts';
import { startVmm } from '../support/vmm.ts';

test(`50 generations are restored as they were (seed ${KILL_SEED})`, () =>
  runGenerations(50, randomFrom(KILL_SEED)));

const MIB = 2 ** 20;

test('a chain of a memory zone in huge pages is composed, offline and by vm.snapshot', async () => {
  using _pages = withHugePages(128);
  await using vmm = await startVmm();
  const zones = [{ id: 'huge', size: 256 * MIB, hugepages: true }];
  using shell = await boot(vmm, { memory: { size: 0, zones } });
  await shell.run('mkdir /m; mount -t tmpfs m /m; head -c 8000000 /dev/urandom >/m/a; md5sum /m/a >/m/sums');
  const at = (name: string): string => join(vmm.folder, name);
  await saveAs(vmm, at('full'), 'full');
  assertStatus(await vmm.put('vm.resume'), 204);
  await shell.run('head -c 4000000 /dev/urandom >/m/b; md5sum /m/? >/m/sums');
  await saveAs(vmm, at('diff'), 'diff');
  await composeSnapshot(at('diff'), at('offline'));
  mkdirSync(at('online'));
  const request = { destination_url: `file://${at('online')}`, snapshot_type: 'diff', compose: true };
  assertStatus(await vmm.put('vm.snapshot', request), 204);
  for (const name of ['full', 'diff']) renameSync(at(name), at(`${name} elsewhere`));
  for (const name of ['offline', 'online']) {
    assertStatus(await vmm.put('vm.delete'), 204);
    assertStatus(await vmm.put('vm.restore', { source_url: `file://${at(name)}`, resume: true }), 204);
    using restored = openShell(await ptyOf(vmm));
    assert.equal(await restored.run('md5sum -c /m/sums | grep -c OK'), '2');
  }
});
