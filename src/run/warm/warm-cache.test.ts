import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { RecordedConnection } from './recorded-connection.ts';
import { buildWarmEntry, findWarmEntry, type WarmBuild } from './warm-cache.ts';
import { removeWarmEntries, sweepWarmEntries } from './warm-sweep.ts';

const CONNECTION: RecordedConnection = {
  seed: { cookie: Buffer.alloc(16, 1), privateKey: Buffer.alloc(48, 2) },
  received: Buffer.from('SSH-2.0-x\r\n'),
  sent: 800,
};

function makeHome(t: TestContext): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'warm-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'warm');
}

function writeSnapshot({ snapshot }: Pick<WarmBuild, 'snapshot'>, bytes = 1000): void {
  writeFileSync(join(snapshot, 'memory-ranges'), Buffer.alloc(bytes, 1), { mode: 0o600 });
  writeFileSync(join(snapshot, 'state.json'), '{}', { mode: 0o600 });
}

async function makeEntry(home: string, key: string, bytes?: number): Promise<void> {
  const build = await buildWarmEntry(key, home);
  assert.ok(build !== undefined);
  writeSnapshot(build, bytes);
  await build.publish(CONNECTION);
  await build[Symbol.asyncDispose]();
}

test('a published entry is found with its connection, and nothing else is left', async (t) => {
  const home = makeHome(t);
  assert.equal(await findWarmEntry('a', home), undefined);
  await makeEntry(home, 'a');
  const entry = await findWarmEntry('a', home);
  assert.deepEqual(entry?.connection, CONNECTION);
  assert.ok(existsSync(join(entry.snapshot, 'state.json')));
  assert.deepEqual(readdirSync(home), ['a']);
});

test('an entry that is not published leaves nothing', async (t) => {
  const home = makeHome(t);
  {
    await using build = await buildWarmEntry('a', home);
    assert.ok(build !== undefined);
    writeSnapshot(build);
  }
  assert.equal(await findWarmEntry('a', home), undefined);
  assert.deepEqual(readdirSync(home), []);
});

test('an entry is built once at a time, and not again when it is complete', async (t) => {
  const home = makeHome(t);
  {
    await using build = await buildWarmEntry('a', home);
    assert.ok(build !== undefined);
    assert.equal(await buildWarmEntry('a', home), undefined);
    await using other = await buildWarmEntry('b', home);
    assert.ok(other !== undefined);
    writeSnapshot(build);
    await build.publish(CONNECTION);
  }
  assert.equal(await buildWarmEntry('a', home), undefined);
});

const DAMAGES: Readonly<Record<string, (entry: string) => void>> = {
  'a file of another size': (entry) => truncateSync(join(entry, 'snapshot', 'memory-ranges'), 999),
  'a file that is missing': (entry) => rmSync(join(entry, 'snapshot', 'state.json')),
  'a further file': (entry) => writeFileSync(join(entry, 'snapshot', 'more'), '', { mode: 0o600 }),
  'a file that others can read': (entry) => chmodSync(join(entry, 'snapshot', 'state.json'), 0o644),
  'a folder that others can read': (entry) => chmodSync(entry, 0o755),
  'no facts': (entry) => rmSync(join(entry, 'warm.json')),
  'damaged facts': (entry) => truncateSync(join(entry, 'warm.json'), 10),
  'a link instead of a file': (entry) => {
    rmSync(join(entry, 'snapshot', 'state.json'));
    symlinkSync('/etc/hostname', join(entry, 'snapshot', 'state.json'));
  },
};

for (const [name, damage] of Object.entries(DAMAGES)) {
  test(`an entry with ${name} is removed`, async (t) => {
    const home = makeHome(t);
    await makeEntry(home, 'a');
    damage(join(home, 'a'));
    assert.equal(await findWarmEntry('a', home), undefined);
    assert.deepEqual(readdirSync(home), []);
  });
}

test('a link instead of an entry is removed, and its target is left as it is', async (t) => {
  const home = makeHome(t);
  await makeEntry(home, 'a');
  symlinkSync(join(home, 'a'), join(home, 'b'));
  assert.equal(await findWarmEntry('b', home), undefined);
  assert.ok((await findWarmEntry('a', home)) !== undefined);
  assert.deepEqual(readdirSync(home), ['a']);
});

test('a folder that other users can read is refused', async (t) => {
  const home = makeHome(t);
  mkdirSync(home);
  chmodSync(home, 0o755);
  await assert.rejects(findWarmEntry('a', home), /has mode 0755, not 0700/);
  await assert.rejects(buildWarmEntry('a', home), /has mode 0755, not 0700/);
});

test('the least recently used entries are removed first', async (t) => {
  const home = makeHome(t);
  for (const [i, key] of ['a', 'b', 'c'].entries()) {
    await makeEntry(home, key, 100_000);
    utimesSync(join(home, key, 'warm.json'), i + 1, i + 1);
  }
  await findWarmEntry('a', home);
  await sweepWarmEntries(home, { bytes: 2 ** 30, entries: 2 });
  assert.deepEqual(readdirSync(home).toSorted(), ['a', 'c']);
  await sweepWarmEntries(home, { bytes: 150_000, entries: 10 });
  assert.deepEqual(readdirSync(home), ['a']);
  await sweepWarmEntries(home, { bytes: 0, entries: 10 });
  assert.deepEqual(readdirSync(home), ['a']);
});

test('folders and locks of killed builds are removed after an hour', async (t) => {
  const home = makeHome(t);
  await makeEntry(home, 'a');
  for (const [name, isOld] of [
    ['.part-old', true],
    ['.part-new', false],
  ] as const) {
    mkdirSync(join(home, name));
    if (isOld) utimesSync(join(home, name), 1, 1);
  }
  writeFileSync(join(home, '.lock-x'), '');
  utimesSync(join(home, '.lock-x'), 1, 1);
  await sweepWarmEntries(home);
  assert.deepEqual(readdirSync(home).toSorted(), ['.part-new', 'a']);
});

test('all entries can be removed, and their disk space is told', async (t) => {
  const home = makeHome(t);
  assert.equal(await removeWarmEntries(home), 0);
  await makeEntry(home, 'a', 100_000);
  assert.ok((await removeWarmEntries(home)) >= 100_000);
  assert.deepEqual(readdirSync(home), []);
});

test('a removal of all includes unfinished entries of killed builds, not those in work', async (t) => {
  const home = makeHome(t);
  await makeEntry(home, 'a');
  const killed = join(home, '.part-0123456789ab');
  mkdirSync(killed, { mode: 0o700 });
  writeFileSync(join(killed, 'memory-ranges'), Buffer.alloc(100_000, 1));
  const build = await buildWarmEntry('b', home);
  assert.ok(build !== undefined);
  await removeWarmEntries(home);
  assert.ok(existsSync(build.snapshot) && existsSync(killed));
  await build[Symbol.asyncDispose]();
  writeFileSync(join(home, '.lock-c'), '');
  assert.ok((await removeWarmEntries(home)) >= 100_000);
  assert.deepEqual(readdirSync(home), []);
});
