import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { composeSnapshotFiles } from './compose.ts';
import { LOCK_FILE, LOCK_HEADER, lockFolder } from './folder-lock.ts';
import { readSnapshotFiles } from './read-chain.ts';
import { removeAbandoned } from './remove-abandoned.ts';
import { claimSnapshotFolder } from './snapshot-folder.ts';
import { PAGE, pagesAt, ramOf, writeSnapshot, type TestSnapshot } from './test-snapshots.ts';

const root = mkdtempSync(join(tmpdir(), 'abandoned-'));
after(() => rmSync(root, { recursive: true, force: true }));
const newFolder = (): string => mkdtempSync(join(root, 'folder-'));
const FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];

/** Runs statements in another process, which kills itself after them. `folder` is a variable there. */
function runAndKill(folder: string, statements: string): void {
  const module = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
  const program = `
    const { claimSnapshotFolder } = await import(${module('snapshot-folder.js')});
    const { composeInPlace } = await import(${module('compose-in-place.js')});
    const { rename, writeFile } = await import('node:fs/promises');
    const folder = ${JSON.stringify(folder)};
    ${statements}
    process.kill(process.pid, 'SIGKILL');`;
  const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
  });
  assert.equal(signal, 'SIGKILL', stderr);
}

const HALF_WRITTEN = `
  const claimed = await claimSnapshotFolder(folder);
  await claimed.write('config.json', 'of the killed program');
  await (await claimed.create('memory-ranges')).write('half');`;

/** Returns a folder with the files of a snapshot whose writer was killed. */
function abandoned(): string {
  const folder = newFolder();
  runAndKill(folder, HALF_WRITTEN);
  assert.deepEqual(readdirSync(folder), ['config.json', 'memory-ranges', LOCK_FILE]);
  return folder;
}

/** Writes a full snapshot and a differential one. */
function chain(): TestSnapshot {
  const folder = newFolder();
  const base = writeSnapshot(join(folder, 'full'), { regions: [{ id: 'ram', ram: ramOf(8, { 1: 1 }) }] });
  const regions = [{ id: 'ram', ram: ramOf(8, { 1: 2 }), pages: [pagesAt(1)] }];
  return writeSnapshot(join(folder, 'diff'), { regions, base });
}

test('files of a killed program are removed, those of users stay', async () => {
  const folder = abandoned();
  for (const name of ['disk.raw', 'state.json', 'manifest.json.part']) writeFileSync(join(folder, name), '');
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder), ['disk.raw', 'manifest.json.part', 'state.json']);
});

test('the next composition uses the directory of a killed one', async () => {
  const folder = abandoned();
  await composeSnapshotFiles(chain().folder, folder);
  assert.deepEqual(readdirSync(folder).toSorted(), FILES);
  await readSnapshotFiles(folder);
});

test('files of a running program stay, and its directory is refused', async () => {
  const folder = newFolder();
  const claimed = await claimSnapshotFolder(folder);
  await claimed.write('config.json', '');
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder), ['config.json', LOCK_FILE]);
  await assert.rejects(claimSnapshotFolder(folder), /already holds config.json, snapshot.lock/);
  await claimed.discard();
  assert.deepEqual(readdirSync(folder), []);
});

test('a file that a user has put in the place of a recorded one stays', async () => {
  const folder = abandoned();
  const path = join(folder, 'config.json');
  rmSync(path);
  // of the same inode, where the file system uses it again
  writeFileSync(path, 'of the user');
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder), ['config.json']);
  assert.equal(readFileSync(path, 'utf8'), 'of the user');
});

test('where a snapshot was copied over the files, only the lock is removed', async () => {
  const folder = abandoned();
  cpSync(join(chain().folder, '../full'), folder, { recursive: true });
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder).toSorted(), FILES);
  await readSnapshotFiles(folder);
});

test('the lock of a complete snapshot is removed alone, also that of a copy', async () => {
  const folder = newFolder();
  runAndKill(
    folder,
    `${HALF_WRITTEN} await rename(folder + '/snapshot.lock', folder + '/kept');
    await claimed.finish('{}', () => undefined);`,
  );
  renameSync(join(folder, 'kept'), join(folder, LOCK_FILE));
  const copy = newFolder();
  cpSync(folder, copy, { recursive: true });
  for (const one of [folder, copy]) {
    await removeAbandoned(one);
    assert.deepEqual(readdirSync(one), ['config.json', 'manifest.json', 'memory-ranges']);
  }
});

const COMPOSE = (commit: string): string => `
  const { signal } = new AbortController();
  const commit = () => { ${commit} };
  await composeInPlace(folder, { durable: false, amount: { done: 0, total: 0 }, signal, commit });`;

test('a composition that is killed before its last step leaves the differential snapshot', async () => {
  const { folder } = chain();
  runAndKill(folder, COMPOSE(`process.kill(process.pid, 'SIGKILL')`));
  assert.equal(readdirSync(folder).length, FILES.length + 3);
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder).toSorted(), FILES);
  assert.equal(JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')).format, 3);
  await readSnapshotFiles(folder);
});

test('after the last step of a composition in place the files get their names', async () => {
  const { folder } = chain();
  // between the manifest and the names of the others
  runAndKill(
    folder,
    `
    const { default: fs } = await import('node:fs/promises');
    const { syncBuiltinESMExports } = await import('node:module');
    fs.rename = async (from, to) => {
      await rename(from, to);
      process.kill(process.pid, 'SIGKILL');
    };
    syncBuiltinESMExports();
    ${COMPOSE('')}`,
  );
  assert.ok(existsSync(join(folder, 'memory-ranges.composed')));
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder).toSorted(), FILES);
  rmSync(join(folder, '../full'), { recursive: true });
  const { memoryPath } = await readSnapshotFiles(folder);
  assert.ok(
    readFileSync(memoryPath)
      .subarray(0, 8 * PAGE)
      .equals(ramOf(8, { 1: 2 })),
  );
});

test('in a directory without a killed program nothing changes', async () => {
  for (const folder of [join(root, 'missing'), newFolder(), chain().folder]) {
    const before = existsSync(folder) && readdirSync(folder);
    await removeAbandoned(folder);
    assert.deepEqual(existsSync(folder) && readdirSync(folder), before);
  }
});

/** Makes a lock by hand. */
function writeLock(folder: string, names: readonly string[], header = LOCK_HEADER): string {
  const path = join(folder, LOCK_FILE);
  const lines = names.map((name) => JSON.stringify({ name, file: '1 2' }));
  writeFileSync(path, [header, ...lines, ''].join('\n'), { mode: 0o600 });
  return path;
}

test('a lock that other users can write, or that is none, is not used', async () => {
  const folder = abandoned();
  const path = join(folder, LOCK_FILE);
  const text = readFileSync(path, 'utf8');
  const before = readdirSync(folder);
  const unchanged = async (): Promise<void> => {
    await removeAbandoned(folder);
    assert.deepEqual(readdirSync(folder), before);
  };
  chmodSync(path, 0o620);
  await unchanged();
  chmodSync(path, 0o600);
  writeFileSync(path, text.replace(LOCK_HEADER, '{}'));
  await unchanged();
  writeFileSync(path, text + ' '.repeat(300_000));
  await unchanged();
  rmSync(path);
  const elsewhere = join(newFolder(), 'lock');
  writeFileSync(elsewhere, text, { mode: 0o600 });
  symlinkSync(elsewhere, path);
  await unchanged();
  rmSync(path);
  execFileSync('mkfifo', [path]);
  await unchanged();
});

test('a lock of another user is not used', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
  const folder = abandoned();
  chownSync(join(folder, LOCK_FILE), 1234, 0);
  const before = readdirSync(folder);
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder), before);
});

test('names outside the directory, and links in the place of a file, are left alone', async () => {
  const folder = newFolder();
  const outside = join(root, 'outside');
  writeFileSync(outside, 'of the user');
  runAndKill(folder, HALF_WRITTEN);
  const path = join(folder, LOCK_FILE);
  const text = readFileSync(path, 'utf8');
  linkSync(join(folder, 'config.json'), join(root, 'linked'));
  const [, record = ''] = text.split('\n');
  writeFileSync(path, text + record.replace('config.json', '../linked') + '\n');
  rmSync(join(folder, 'memory-ranges'));
  symlinkSync(outside, join(folder, 'memory-ranges'));
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder), ['memory-ranges']);
  assert.equal(readFileSync(join(root, 'linked'), 'utf8'), 'of the killed program');
  assert.equal(readFileSync(outside, 'utf8'), 'of the user');
  writeLock(folder, ['/etc/hostname', '..', '']);
  await removeAbandoned(folder);
  assert.deepEqual(readdirSync(folder), ['memory-ranges']);
});

test('a directory is locked once', async () => {
  const folder = newFolder();
  await using lock = await lockFolder(folder);
  await assert.rejects(lockFolder(folder), { code: 'EEXIST' });
  await using file = await lock.create('state.json');
  await assert.rejects(lock.create('state.json'), { code: 'EEXIST' });
  await file.close();
});
