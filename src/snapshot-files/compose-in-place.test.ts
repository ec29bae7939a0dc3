import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { composeInPlace } from './compose-in-place.ts';
import { isSnapshot, isUnchanged, layoutOf, readChain, readSnapshotFiles } from './read-chain.ts';
import { pagesAt, ramOf, writeSnapshot, type TestSnapshot } from './test-snapshots.ts';

const root = mkdtempSync(join(tmpdir(), 'compose-in-place-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

const RAM = ramOf(16, { 1: 1, 2: 22, 9: 9 });
const FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];
const { signal } = new AbortController();
const OPTIONS = { durable: true, amount: { done: 0, total: 0 }, signal, commit: () => undefined };

/** Writes a full snapshot and a differential one in a new folder. */
function chain(): TestSnapshot {
  const folder = mkdtempSync(join(root, `${++count}-`));
  const base = writeSnapshot(join(folder, 'full'), {
    regions: [{ id: 'ram', ram: ramOf(16, { 1: 1, 2: 2, 3: 3 }) }],
  });
  const regions = [{ id: 'ram', ram: RAM, pages: [pagesAt(2, 2), pagesAt(9)] }];
  return writeSnapshot(join(folder, 'diff'), { regions, base });
}

/** Returns the length of the chain of a snapshot, and checks that it is the one that was written, or has the same contents. */
async function chainLength({ folder, sha256 }: TestSnapshot): Promise<number> {
  const read = await readSnapshotFiles(folder);
  const layout = layoutOf(read);
  assert.ok(isSnapshot(sha256, read, layout));
  const members = await readChain(read, layout);
  if (members.length === 1) {
    assert.ok(readFileSync(read.memoryPath).subarray(0, RAM.length).equals(RAM));
  }
  return members.length;
}

test('a differential snapshot is replaced by a full one that needs no base', async () => {
  const diff = chain();
  const read = await readSnapshotFiles(diff.folder);
  const before = await readChain(read, layoutOf(read));
  await composeInPlace(diff.folder, OPTIONS);
  assert.equal(await isUnchanged(before), false);
  rmSync(join(diff.folder, '../full'), { recursive: true });
  assert.equal(await chainLength(diff), 1);
  assert.deepEqual(readdirSync(diff.folder).toSorted(), FILES);
  // a full one stays as it is
  const manifest = readFileSync(join(diff.folder, 'manifest.json'), 'utf8');
  await composeInPlace(diff.folder, OPTIONS);
  assert.equal(readFileSync(join(diff.folder, 'manifest.json'), 'utf8'), manifest);
});

test('a cancellation at the last moment leaves the differential snapshot alone', async () => {
  const diff = chain();
  const commit = (): void => {
    throw new Error('cancelled');
  };
  await assert.rejects(composeInPlace(diff.folder, { ...OPTIONS, commit }), { message: 'cancelled' });
  assert.equal(await chainLength(diff), 2);
  assert.deepEqual(readdirSync(diff.folder).toSorted(), FILES);
});

test('a full disk, or a file in the way, leaves the differential snapshot alone', async () => {
  const diff = chain();
  writeFileSync(join(diff.folder, 'memory-ranges.composed'), 'of another');
  await assert.rejects(composeInPlace(diff.folder, OPTIONS), { code: 'EEXIST' });
  rmSync(join(diff.folder, 'memory-ranges.composed'));
  assert.equal(await chainLength(diff), 2);
  assert.deepEqual(readdirSync(diff.folder).toSorted(), FILES);
});

test('a kill between any two steps leaves one of the two snapshots', async () => {
  const diff = chain();
  const final = join(root, `${++count}`);
  cpSync(diff.folder, final, { recursive: true });
  const old = (name: string): string => join(final, name);
  await composeInPlace(diff.folder, OPTIONS);
  const now = (name: string): string => join(diff.folder, name);
  // the steps before the manifest is replaced
  cpSync(now('state.json'), old('state.json.composed'));
  const killed = { folder: final, sha256: diff.sha256 };
  renameSync(join(diff.folder, '../full'), join(root, 'gone'));
  const alone = { message: /its base cannot be used/ };
  await assert.rejects(chainLength(killed), alone);
  cpSync(now('memory-ranges'), old('memory-ranges.composed'));
  await assert.rejects(chainLength(killed), alone);
  // and those from it on
  cpSync(now('manifest.json'), old('manifest.json'));
  assert.equal(await chainLength(killed), 1);
  renameSync(old('memory-ranges.composed'), old('memory-ranges'));
  assert.equal(await chainLength(killed), 1);
  renameSync(old('state.json.composed'), old('state.json'));
  assert.equal(await chainLength(killed), 1);
});
