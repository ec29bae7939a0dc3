// Differential snapshots: their size, the chain that a restore reads, and errors of its members.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { composeSnapshot } from '../src/sdk/index.ts';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { allocatedBytes } from './support/images.ts';
import { KILL_SEED, randomFrom } from './support/random.ts';
import { openShell } from './support/shell.ts';
import { SNAPSHOT_FILES } from './support/snapshots.ts';
import { CHAIN_MAX, runGenerations, saveAs } from './support/snapshot-chains.ts';
import { ptyOf } from './support/vm-info.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

test(`generations of a random guest are restored as they were (seed ${KILL_SEED})`, () =>
  runGenerations(4, randomFrom(KILL_SEED)));

test('differential snapshots', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { memory: { size: 256 * MIB } });
  await shell.run('mkdir /m; mount -t tmpfs m /m; head -c 30000000 /dev/urandom >/m/a; md5sum /m/a >/m/sums');
  const folder = (name: string): string => join(vmm.folder, name);
  const url = (name: string): string => `file://${folder(name)}`;
  const memory = (name: string): number => allocatedBytes(join(folder(name), 'memory-ranges'));
  const change = async (name: string): Promise<void> => {
    assertStatus(await vmm.put('vm.resume'), 204);
    await shell.run(`head -c ${8 * MIB} /dev/urandom >/m/${name}; md5sum /m/? >/m/sums`);
    assertStatus(await vmm.put('vm.pause'), 204);
  };

  await t.test('without a snapshot before, one is refused, and nothing is written', async () => {
    assertStatus(await vmm.put('vm.pause'), 204);
    const request = { destination_url: `file://${vmm.folder}`, snapshot_type: 'diff' };
    const before = readdirSync(vmm.folder);
    assertRefused(await vmm.put('vm.snapshot', request), 500, /there is no base/);
    assert.deepEqual(readdirSync(vmm.folder), before);
  });

  await t.test('an unchanged VM needs no page', async () => {
    await saveAs(vmm, folder('full'), 'full');
    await saveAs(vmm, folder('same'), 'diff');
    assert.equal(memory('same'), 0);
  });

  await t.test('only changed pages are written, also after a restore', async () => {
    await change('b');
    await saveAs(vmm, folder('first'), 'diff');
    assert.ok(memory('first') > 8 * MIB && memory('first') < 14 * MIB, `${memory('first')} bytes`);
    assertStatus(await vmm.put('vm.delete'), 204);
    assertStatus(await vmm.put('vm.restore', { source_url: url('first') }), 204);
    using restored = openShell(await ptyOf(vmm));
    assertStatus(await vmm.put('vm.resume'), 204);
    assert.equal(await restored.run('md5sum -c /m/sums | grep -c OK'), '2');
    await restored.run(`head -c ${8 * MIB} /dev/urandom >/m/c; md5sum /m/? >/m/sums`);
    assertStatus(await vmm.put('vm.pause'), 204);
    await saveAs(vmm, folder('second'), 'diff');
    assert.ok(memory('second') > 8 * MIB && memory('second') < 14 * MIB, `${memory('second')} bytes`);
    assertStatus(await vmm.put('vm.delete'), 204);
    assertStatus(await vmm.put('vm.restore', { source_url: url('second'), resume: true }), 204);
    using again = openShell(await ptyOf(vmm));
    assert.equal(await again.run('md5sum -c /m/sums | grep -c OK'), '3');
    assertStatus(await vmm.put('vm.delete'), 204);
  });

  await t.test('a chain can be moved as a whole', async () => {
    mkdirSync(folder('moved'));
    const names = ['full', 'same', 'first', 'second'];
    for (const name of names) renameSync(folder(name), folder(`moved/${name}`));
    assertStatus(await vmm.put('vm.restore', { source_url: url('moved/second') }), 204);
    assertStatus(await vmm.put('vm.delete'), 204);
    for (const name of names) renameSync(folder(`moved/${name}`), folder(name));
  });

  await t.test('a base that is missing, or was changed, is named', async () => {
    renameSync(folder('same'), folder('elsewhere'));
    const restore = { source_url: url('second') };
    const missing = /first: its base cannot be used: .*same: no such file or directory/;
    assertRefused(await vmm.put('vm.restore', restore), 500, missing);
    renameSync(folder('elsewhere'), folder('same'));
    const state = join(folder('full'), 'state.json');
    const text = readFileSync(state, 'utf8');
    writeFileSync(state, text.replace('"deviceState"', '"devicestate"'));
    assertRefused(await vmm.put('vm.restore', restore), 500, /full\/state\.json: is not what was written/);
    writeFileSync(state, text);
    assertStatus(await vmm.put('vm.restore', restore), 204);
  });

  await t.test(
    'a composed snapshot is restored without its chain, and replaces the one it is made of',
    async () => {
      await composeSnapshot(folder('second'), folder('composed'));
      mkdirSync(folder('away'));
      for (const name of ['full', 'same', 'first', 'second'])
        renameSync(folder(name), folder(`away/${name}`));
      assertStatus(await vmm.put('vm.delete'), 204);
      assertStatus(await vmm.put('vm.restore', { source_url: url('composed'), resume: true }), 204);
      using restored = openShell(await ptyOf(vmm));
      assert.equal(await restored.run('md5sum -c /m/sums | grep -c OK'), '3');
      assertStatus(await vmm.put('vm.delete'), 204);
      for (const name of ['full', 'same', 'first', 'second'])
        renameSync(folder(`away/${name}`), folder(name));
    },
  );

  await t.test('a snapshot with compose is a full one in the end, and the VM runs on before', async () => {
    assertStatus(await vmm.put('vm.restore', { source_url: url('second'), resume: true }), 204);
    using restored = openShell(await ptyOf(vmm));
    await restored.run(`head -c ${8 * MIB} /dev/urandom >/m/d; md5sum /m/? >/m/sums`);
    assertStatus(await vmm.put('vm.pause'), 204);
    mkdirSync(folder('third'));
    const request = { destination_url: url('third'), snapshot_type: 'diff', compose: true };
    const composing = vmm.put('vm.snapshot', request);
    // each request has a connection of its own: the snapshot must be the first of the two
    await until('the differential snapshot is complete', () =>
      existsSync(join(folder('third'), 'manifest.json')),
    );
    assertStatus(await vmm.put('vm.resume'), 204);
    assertStatus(await composing, 204);
    assert.deepEqual(readdirSync(folder('third')).toSorted(), SNAPSHOT_FILES);
    // the next one is based on the composed one
    assertStatus(await vmm.put('vm.pause'), 204);
    await saveAs(vmm, folder('fourth'), 'diff');
    assert.ok(memory('fourth') < 8 * MIB, `${memory('fourth')} bytes`);
    assertStatus(await vmm.put('vm.delete'), 204);
    mkdirSync(folder('old'));
    for (const name of ['full', 'same', 'first', 'second']) renameSync(folder(name), folder(`old/${name}`));
    assertStatus(await vmm.put('vm.restore', { source_url: url('fourth'), resume: true }), 204);
    using again = openShell(await ptyOf(vmm));
    assert.equal(await again.run('md5sum -c /m/sums | grep -c OK'), '4');
    assertStatus(await vmm.put('vm.pause'), 204);
  });

  await t.test('a chain has a limit, which the error names', async () => {
    for (let depth = 3; depth <= CHAIN_MAX; depth++) await saveAs(vmm, folder(`depth${depth}`), 'diff');
    mkdirSync(folder('more'));
    const request = { destination_url: url('more'), snapshot_type: 'diff' };
    assertRefused(await vmm.put('vm.snapshot', request), 500, /the last of 8 possible in a chain/);
    assert.deepEqual(readdirSync(folder('more')), []);
    await saveAs(vmm, folder('whole'), 'full');
    await saveAs(vmm, folder('next'), 'diff');
  });
});
