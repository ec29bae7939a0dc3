// Compositions, offline and in place, that cannot succeed: full disks, directories without rights, changed and hostile chains.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { composeInPlace } from './compose-in-place.ts';
import { composeSnapshotFiles, readComposeSource } from './compose.ts';
import { PAGE, pagesAt, ramOf, writeSnapshot, type TestSnapshot } from './test-snapshots.ts';

const root = mkdtempSync(join(tmpdir(), 'compose-faults-'));
after(() => rmSync(root, { recursive: true, force: true }));
const newFolder = (): string => mkdtempSync(join(root, 'chain-'));
const FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];
const needsRoot = { skip: process.getuid?.() !== 0 && 'needs root: a file system is mounted' };

/** Pages of a test's RAM: more than the small file systems hold. */
const PAGES = 512;

/** Writes a full snapshot and a differential one in a folder. */
function chainIn(folder: string): TestSnapshot {
  const all = Object.fromEntries(Array.from({ length: PAGES }, (_, page) => [page, 1 + (page % 255)]));
  const base = writeSnapshot(join(folder, 'full'), { regions: [{ id: 'ram', ram: ramOf(PAGES, all) }] });
  const regions = [{ id: 'ram', ram: ramOf(PAGES, { 3: 33 }), pages: [pagesAt(3)] }];
  return writeSnapshot(join(folder, 'diff'), { regions, base });
}

/** Composes in place; `onBytes` is called when the first bytes are written. */
function compose(folder: string, onBytes: () => void = () => undefined): Promise<void> {
  const { signal } = new AbortController();
  return composeInPlace(folder, {
    durable: false,
    amount: watched(onBytes),
    signal,
    commit: () => undefined,
  });
}

function watched(onBytes: () => void): { done: number; total: number } {
  let done = 0;
  return {
    total: 0,
    get done() {
      return done;
    },
    set done(bytes: number) {
      if (done === 0) onBytes();
      done = bytes;
    },
  };
}

/** Mounts a small file system in memory. */
function mounted(path: string, size: string): Disposable {
  mkdirSync(path);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'none', path]);
  return { [Symbol.dispose]: () => void execFileSync('umount', [path]) };
}

/** Checks that a differential snapshot is as it was. */
async function isAsBefore(folder: string): Promise<void> {
  assert.deepEqual(readdirSync(folder).toSorted(), FILES);
  assert.equal((await readComposeSource(folder)).chain.length, 2);
}

test('a full disk is named, and leaves the snapshots as they were', needsRoot, async () => {
  const folder = newFolder();
  const { folder: diff } = chainIn(folder);
  const small = join(folder, 'small');
  using _small = mounted(small, '1m');
  const full = { message: /no space left on device/i };
  await assert.rejects(composeSnapshotFiles(diff, join(small, 'new')), full);
  assert.deepEqual(readdirSync(small), []);
  const moved = join(small, 'diff');
  execFileSync('cp', ['-r', diff, moved]);
  await assert.rejects(compose(moved), full);
  await isAsBefore(moved);
});

test('a directory that cannot be written is named', needsRoot, async () => {
  const folder = newFolder();
  const fixed = join(folder, 'fixed');
  using _fixed = mounted(fixed, '8m');
  const { folder: diff } = chainIn(fixed);
  mkdirSync(join(fixed, 'empty'));
  execFileSync('mount', ['-o', 'remount,ro', fixed]);
  const denied = { message: /read-only file system/ };
  await assert.rejects(composeSnapshotFiles(diff, join(fixed, 'new')), denied);
  await assert.rejects(composeSnapshotFiles(diff, join(fixed, 'empty')), denied);
  await assert.rejects(compose(diff), denied);
  await isAsBefore(diff);
  await composeSnapshotFiles(diff, join(folder, 'new'));
});

test('a base that changes meanwhile is an error', async () => {
  for (const change of [
    (base: string) => utimesSync(join(base, 'memory-ranges'), 1, 1),
    (base: string) => appendFileSync(join(base, 'state.json'), ' '),
    (base: string) => renameSync(base, `${base} of before`),
  ]) {
    const folder = newFolder();
    const { folder: diff } = chainIn(folder);
    const act = (): void => change(join(folder, 'full'));
    const changed = { message: /diff: its chain was changed while it was read/ };
    await assert.rejects(composeSnapshotFiles(diff, join(folder, 'new'), { amount: watched(act) }), changed);
    assert.equal(existsSync(join(folder, 'new')), false);
  }
  const folder = newFolder();
  const { folder: diff } = chainIn(folder);
  await assert.rejects(
    compose(diff, () => utimesSync(join(folder, 'full/memory-ranges'), 1, 1)),
    /was changed/,
  );
  await isAsBefore(diff);
});

test('eight generations are composed, nine are refused, in place too', async () => {
  const folder = newFolder();
  const ram = ramOf(8);
  let last = writeSnapshot(join(folder, '1'), { regions: [{ id: 'ram', ram }] });
  for (let generation = 2; generation <= 9; generation++) {
    ram.fill(generation, (generation - 2) * PAGE, (generation - 1) * PAGE);
    const regions = [{ id: 'ram', ram, pages: [pagesAt(generation - 2)] }];
    last = writeSnapshot(join(folder, `${generation}`), { regions, base: last });
  }
  const tooLong = { message: /9: has more than 7 snapshots below it: compose a full one/ };
  await assert.rejects(composeSnapshotFiles(last.folder, join(folder, 'new')), tooLong);
  await assert.rejects(compose(last.folder), tooLong);
  // as the message says
  await compose(join(folder, '8'));
  await composeSnapshotFiles(last.folder, join(folder, 'new'));
  assert.ok(readFileSync(join(folder, 'new/memory-ranges')).subarray(0, ram.length).equals(ram));
});

test('a chain without its middle is named, in place too', async () => {
  const folder = newFolder();
  const { folder: diff, sha256 } = chainIn(folder);
  const regions = [{ id: 'ram', ram: ramOf(PAGES), pages: [] }];
  const { folder: last } = writeSnapshot(join(folder, 'last'), { regions, base: { folder: diff, sha256 } });
  renameSync(diff, join(folder, 'elsewhere'));
  const missing = { message: /last: its base cannot be used: .*diff: no such file/ };
  await assert.rejects(composeSnapshotFiles(last, join(folder, 'new')), missing);
  await assert.rejects(compose(last), missing);
});

test('hostile files in the place of those of a snapshot are refused at once', async () => {
  const folder = newFolder();
  const { folder: diff } = chainIn(folder);
  for (const snapshot of ['diff', 'full']) {
    for (const name of ['manifest.json', 'state.json', 'memory-ranges']) {
      const path = join(folder, snapshot, name);
      const kept = join(folder, 'kept');
      renameSync(path, kept);
      for (const make of [
        () => execFileSync('mkfifo', [path]),
        () => mkdirSync(path),
        () => symlinkSync('/dev/zero', path),
        () => symlinkSync(path, path),
        // it is missing
        () => undefined,
        () => {
          writeFileSync(path, '');
          truncateSync(path, 2 ** 40);
        },
      ]) {
        rmSync(path, { recursive: true, force: true });
        make();
        await assert.rejects(composeSnapshotFiles(diff, join(folder, 'new')), /full|diff/);
        assert.equal(existsSync(join(folder, 'new')), false);
      }
      rmSync(path, { recursive: true, force: true });
      renameSync(kept, path);
    }
  }
  await composeSnapshotFiles(diff, join(folder, 'new'));
});

test('sizes, offsets and names of a hostile manifest are refused', async () => {
  const region = { id: 'ram', offset: 0, length: 4 * PAGE };
  const base = { path: '/', relativePath: '..', sha256: '0'.repeat(64) };
  const cases: readonly Readonly<Record<string, unknown>>[] = [
    { regions: [{ ...region, length: -PAGE }] },
    { regions: [{ ...region, length: 1.5 }] },
    { regions: [{ ...region, offset: 2 ** 53 }] },
    { regions: [{ ...region, offset: 3 * PAGE }] },
    { regions: [{ ...region, id: 'x'.repeat(300) }] },
    { regions: Array.from({ length: 5000 }, (_, i) => ({ id: `${i}`, offset: 0, length: 0 })) },
    { regions: [{ ...region, pages: [{ offset: 2 ** 40, length: PAGE }] }] },
    { regions: [{ ...region, pages: [{ offset: 0, length: 0 }] }] },
    { regions: [region], overlays: [{ ...region, id: 'o', pages: [{ offset: PAGE, length: 2 ** 50 }] }] },
    { regions: 'all' },
    { base: { ...base, path: '../../../etc' } },
    { base: { ...base, relativePath: '../../../../../../../../etc' } },
    { base: { ...base, path: `/\0${'a/'.repeat(9000)}` } },
    { base: { ...base, relativePath: 5 } },
    { replaces: Array.from({ length: 100 }, () => '0') },
  ];
  for (const members of cases) {
    const folder = newFolder();
    const edit = (state: Record<string, unknown>): void => void Object.assign(state, members);
    const { folder: hostile } = writeSnapshot(join(folder, 'hostile'), {
      regions: [{ id: 'ram', ram: ramOf(4, { 1: 1 }) }],
      edit,
    });
    await assert.rejects(
      composeSnapshotFiles(hostile, join(folder, 'new')),
      /hostile/,
      JSON.stringify(members).slice(0, 99),
    );
    assert.deepEqual(readdirSync(folder), ['hostile']);
  }
});

test('a region whose id is a path leaves the directory alone', async () => {
  const folder = newFolder();
  const { folder: odd } = writeSnapshot(join(folder, 'odd'), {
    regions: [{ id: '../../escaped', ram: ramOf(2, { 1: 1 }) }],
  });
  await composeSnapshotFiles(odd, join(folder, 'new'));
  assert.deepEqual(readdirSync(folder), ['new', 'odd']);
});

test('a giant hole is composed as a hole, and can be cancelled', async () => {
  const folder = newFolder();
  const bytes = 2 ** 40;
  const { folder: giant } = writeSnapshot(join(folder, 'giant'), {
    regions: [],
    size: bytes,
    edit: (state) => (state['regions'] = [{ id: 'ram', offset: 0, length: bytes }]),
  });
  const controller = new AbortController();
  const composing = composeSnapshotFiles(giant, join(folder, 'new'), { signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 20);
  await assert.rejects(composing, { message: 'enough' });
  await composeSnapshotFiles(giant, join(folder, 'new'));
  const { size, blocks } = statSync(join(folder, 'new/memory-ranges'));
  assert.ok(size === bytes && blocks < 100);
});
