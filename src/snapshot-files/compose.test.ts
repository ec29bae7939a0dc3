import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
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
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { composeInPlace } from './compose-in-place.ts';
import { composeSnapshotFiles } from './compose.ts';
import { readChain, readSnapshotFiles, layoutOf } from './read-chain.ts';
import { pagesAt, PAGE, ramOf, writeSnapshot, type TestRegion, type TestSnapshot } from './test-snapshots.ts';

const root = mkdtempSync(join(tmpdir(), 'compose-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

/** Returns a new folder for the snapshots of a test. */
function place(): (name: string) => string {
  const folder = join(root, `${++count}`);
  mkdirSync(folder);
  return (name) => join(folder, name);
}

const FILES = ['config.json', 'manifest.json', 'memory-ranges', 'state.json'];

/** Returns the contents of the regions of a full snapshot, by id. */
async function regionsOf(folder: string): Promise<Map<string, Buffer>> {
  const read = await readSnapshotFiles(folder);
  const { base, regions, overlays } = layoutOf(read);
  assert.equal(base, undefined);
  const memory = readFileSync(join(folder, 'memory-ranges'));
  const inFile = [...regions.filter(({ zone }) => zone === undefined), ...overlays];
  return new Map(inFile.map(({ id, offset, length }) => [id, memory.subarray(offset, offset + length)]));
}

/** Writes a full snapshot and two differential ones; the second has a region that its base lacks. */
function chainIn(at: (name: string) => string): { newest: TestSnapshot; ram: Buffer; dimm: Buffer } {
  const zone = { id: 'z', ram: ramOf(8), zone: 'z' };
  const ram = ramOf(64, { 1: 1, 2: 2, 3: 3, 60: 60 });
  const full = writeSnapshot(at('full'), { regions: [{ id: 'ram', ram }, zone] });
  ram.fill(22, 2 * PAGE, 3 * PAGE).fill(0, 3 * PAGE, 4 * PAGE);
  const pages = [pagesAt(2, 2)];
  const first = writeSnapshot(at('first'), { regions: [{ id: 'ram', ram, pages }, zone], base: full });
  ram.fill(33, 2 * PAGE + 5, 2 * PAGE + 6).fill(44, 40 * PAGE, 42 * PAGE);
  const dimm = ramOf(16, { 5: 5 });
  const regions: TestRegion[] = [
    { id: 'ram', ram, pages: [pagesAt(2), pagesAt(40, 2)] },
    zone,
    { id: 'dimm0', ram: dimm },
  ];
  return { newest: writeSnapshot(at('second'), { regions, base: first }), ram, dimm };
}

test('a composed snapshot has the pages of its chain, and no base', async () => {
  const at = place();
  const { newest, ram, dimm } = chainIn(at);
  const amount = { done: 0, total: 0 };
  await composeSnapshotFiles(newest.folder, at('whole'), { amount });
  for (const name of ['full', 'first', 'second']) rmSync(at(name), { recursive: true });
  assert.deepEqual(readdirSync(at('whole')).toSorted(), FILES);
  const regions = await regionsOf(at('whole'));
  assert.deepEqual([...regions.keys()], ['ram', 'dimm0']);
  assert.ok(regions.get('ram')?.equals(ram));
  assert.ok(regions.get('dimm0')?.equals(dimm));
  assert.ok(amount.done > 0 && amount.done === amount.total);
  // pages of zeros stay holes: 1, 2, 40, 41, 60 and that of the DIMM have data
  assert.equal(statSync(join(at('whole'), 'memory-ranges')).blocks * 512, 6 * PAGE);
  assert.equal(readFileSync(join(at('whole'), 'config.json'), 'utf8'), '{"config": "of the VM"}\n');
  const state = JSON.parse(readFileSync(join(at('whole'), 'state.json'), 'utf8'));
  assert.deepEqual([state.machine, state.deviceState, state.base], [newest.folder, 'AAAA', undefined]);
  // see `state-text.ts`
  assert.equal(Object.keys(state).at(-1), 'deviceState');
});

test('a composed snapshot is the base of those whose base it replaces', async () => {
  const at = place();
  const { newest, ram } = chainIn(at);
  ram.fill(9, 0, PAGE);
  const regions = [{ id: 'ram', ram, pages: [pagesAt(0)] }];
  const next = writeSnapshot(at('next'), { regions, base: newest });
  await composeSnapshotFiles(newest.folder, at('once'));
  await composeSnapshotFiles(at('once'), at('twice'));
  for (const name of ['full', 'first', 'second', 'once']) rmSync(at(name), { recursive: true });
  renameSync(at('twice'), at('second'));
  const read = await readSnapshotFiles(next.folder);
  assert.equal((await readChain(read, layoutOf(read))).length, 2);
  await composeSnapshotFiles(next.folder, at('whole'));
  assert.ok((await regionsOf(at('whole'))).get('ram')?.equals(ram));
});

test('pages over the file of a device are those of the newest snapshot', async () => {
  const at = place();
  const pmem = ramOf(16, { 3: 3, 4: 0 });
  const overlays = [{ id: 'pmem', ram: pmem, pages: [pagesAt(3, 2)] }];
  const full = writeSnapshot(at('full'), {
    regions: [],
    overlays: [{ ...overlays[0], id: 'pmem', ram: ramOf(16) }],
  });
  const diff = writeSnapshot(at('diff'), { regions: [], overlays, base: full });
  await composeSnapshotFiles(diff.folder, at('whole'));
  assert.ok((await regionsOf(at('whole'))).get('pmem')?.equals(pmem));
});

test('random chains are composed as they were', async () => {
  let seed = 20_261_128;
  const random = (most: number): number => (seed = (seed * 48_271) % 2_147_483_647) % most;
  for (let round = 0; round < 20; round++) {
    const at = place();
    const ram = ramOf(
      200,
      Object.fromEntries(Array.from({ length: 60 }, () => [random(200), 1 + random(255)])),
    );
    let last = writeSnapshot(at('0'), { regions: [{ id: 'ram', ram }] });
    for (let depth = 1; depth < 8; depth++) {
      const pages = new Set(Array.from({ length: 1 + random(40) }, () => random(200)));
      for (const page of pages) ram.fill(random(4) === 0 ? 0 : random(256), page * PAGE, (page + 1) * PAGE);
      const runs = [...pages].toSorted((a, b) => a - b).map((page) => pagesAt(page));
      last = writeSnapshot(at(`${depth}`), { regions: [{ id: 'ram', ram, pages: runs }], base: last });
    }
    await composeSnapshotFiles(last.folder, at('whole'));
    assert.ok((await regionsOf(at('whole'))).get('ram')?.equals(ram), `round ${round}`);
  }
});

/** Checks that a composition is refused, and leaves nothing. */
async function refused(from: string, to: string, reason: RegExp): Promise<void> {
  await assert.rejects(composeSnapshotFiles(from, to), { message: reason });
  assert.equal(existsSync(to), false);
}

test('a base that is missing, changed or cannot be trusted is named', async () => {
  const at = place();
  const { newest } = chainIn(at);
  const first = at('first');
  renameSync(first, at('elsewhere'));
  await refused(newest.folder, at('new'), /second: its base cannot be used: .*first: no such file/);
  execFileSync('mkfifo', [first]);
  await refused(newest.folder, at('new'), /first: is not a directory/);
  rmSync(first);
  symlinkSync(at('elsewhere'), first);
  await refused(newest.folder, at('new'), /first: is a symbolic link: it must be the directory itself/);
  rmSync(first);
  renameSync(at('elsewhere'), first);
  const state = join(at('full'), 'state.json');
  const text = readFileSync(state, 'utf8');
  writeFileSync(state, text.replace('AAAA', 'BBBB'));
  await refused(newest.folder, at('new'), /full\/state.json: is not what was written/);
  writeFileSync(state, text);
  truncateSync(join(at('full'), 'memory-ranges'), PAGE);
  await refused(newest.folder, at('new'), /full\/memory-ranges: is not what was written/);
});

test('a base of another user is named', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
  const at = place();
  const { newest } = chainIn(at);
  chownSync(at('first'), 1234, 0);
  await refused(newest.folder, at('new'), /first: belongs to the user 1234, and .*second to the user 0/);
});

test('a chain that has no end, or more than eight snapshots, is refused', async () => {
  const at = place();
  const ram = ramOf(4);
  const regions = [{ id: 'ram', ram, pages: [] }];
  const self = { folder: at('self'), sha256: '0'.repeat(64) };
  writeSnapshot(at('self'), { regions, base: self });
  await refused(at('self'), at('new'), /self: is another snapshot \(its checksum differs\)/);
  // a loop by a checksum that a snapshot claims for itself
  const [one, other] = ['1', '2'].map((digit) => digit.repeat(64));
  const claims = (sha256: string | undefined) => (state: Record<string, unknown>) =>
    (state['replaces'] = [sha256]);
  writeSnapshot(at('one'), { regions, base: { folder: at('other'), sha256: `${other}` }, edit: claims(one) });
  writeSnapshot(at('other'), { regions, base: { folder: at('one'), sha256: `${one}` }, edit: claims(other) });
  await refused(at('one'), at('new'), /one: has more than 7 snapshots below it/);
});

test('regions that overlap, do not fit, or are there twice are refused', async () => {
  const at = place();
  const ram = ramOf(4, { 1: 1 });
  const write = (name: string, regions: unknown): string =>
    writeSnapshot(at(name), { regions: [{ id: 'ram', ram }], edit: (state) => (state['regions'] = regions) })
      .folder;
  const region = { id: 'ram', offset: 0, length: 4 * PAGE };
  const beyond = [{ ...region, length: 2 ** 52 }];
  await refused(
    write('beyond', beyond),
    at('new'),
    /beyond\/state.json: .*ram is not within the 16384 bytes/,
  );
  const overlapping = [
    { ...region, length: 2 * PAGE },
    { id: 'b', offset: PAGE, length: PAGE },
  ];
  await refused(write('overlap', overlapping), at('new'), /the regions ram and b overlap in memory-ranges/);
  const twice = [
    { ...region, length: PAGE },
    { ...region, offset: PAGE, length: PAGE },
  ];
  await refused(write('twice', twice), at('new'), /the region ram is there twice/);
  const packed = [{ ...region, length: 2 ** 52, pages: [pagesAt(1), pagesAt(1)] }];
  await refused(write('packed', packed), at('new'), /the pages of the region ram are not in order within it/);
});

test('a differential snapshot without a base, or of another size, is refused', async () => {
  const at = place();
  const small = writeSnapshot(at('small'), { regions: [{ id: 'ram', ram: ramOf(2) }] });
  const regions = [{ id: 'ram', ram: ramOf(4), pages: [pagesAt(0)] }];
  await refused(
    writeSnapshot(at('alone'), { regions }).folder,
    at('new'),
    /alone: has only a part of the region ram/,
  );
  await refused(
    writeSnapshot(at('other'), { regions, base: small }).folder,
    at('new'),
    /small: its region ram has 8192 bytes, not 16384/,
  );
});

test('the new directory must not hold a snapshot, and stays as it was', async () => {
  const at = place();
  const { newest } = chainIn(at);
  await assert.rejects(composeSnapshotFiles(newest.folder, at('full')), /full: already holds/);
  await assert.rejects(composeSnapshotFiles(newest.folder, newest.folder), /second: already holds/);
  await assert.rejects(composeSnapshotFiles(newest.folder, at('no/where')), /no\/where: no such file/);
  mkdirSync(at('own'));
  writeFileSync(join(at('own'), 'disk.raw'), '');
  const { signal } = Object.assign(new AbortController(), {});
  await composeSnapshotFiles(newest.folder, at('own'), { signal });
  assert.deepEqual(readdirSync(at('own')).toSorted(), ['config.json', 'disk.raw', ...FILES.slice(1)]);
});

test('a cancelled composition leaves nothing', async () => {
  const at = place();
  const { newest } = chainIn(at);
  const controller = new AbortController();
  const amount = {
    total: 0,
    get done() {
      return 0;
    },
    // at the first bytes that are written
    set done(_: number) {
      controller.abort(new Error('enough'));
    },
  };
  const composing = composeSnapshotFiles(newest.folder, at('new'), { amount, signal: controller.signal });
  await assert.rejects(composing, { message: 'enough' });
  assert.equal(existsSync(at('new')), false);
});

/** Adds the images of two disks to a `state.json`, one of which has a copy. */
const withDisk =
  (copy: string) =>
  (state: Record<string, unknown>): void => {
    state['images'] = [{ id: 'read-only' }, { id: 'data', copy }];
  };

/** Returns the copies of disks that a manifest names. */
function disksIn(folder: string): unknown {
  const manifest: unknown = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'disks' in manifest
    ? manifest.disks
    : undefined;
}

const DISK = { id: 'data', file: 'disk-data.raw' };

test('copies of disks are part of the composed snapshot, with their holes', async () => {
  const at = place();
  const base = writeSnapshot(at('full'), { regions: [{ id: 'ram', ram: ramOf(4) }] });
  const edit = withDisk(DISK.file);
  const regions = [{ id: 'ram', ram: ramOf(4), pages: [] }];
  writeSnapshot(at('diff'), { regions, base, edit });
  const [from, to] = [join(at('diff'), DISK.file), join(at('new'), DISK.file)];
  const bytes = 100 * 2 ** 20 + 512;
  writeFileSync(from, 'first sector', { mode: 0o640 });
  truncateSync(from, bytes);
  const amount = { done: 0, total: 0 };
  await composeSnapshotFiles(at('diff'), at('new'), { amount });
  assert.deepEqual(readdirSync(at('new')).toSorted(), [...FILES, DISK.file].toSorted());
  assert.ok(readFileSync(to).equals(readFileSync(from)));
  const { blocks, mode } = statSync(to);
  assert.ok(blocks * 512 < 2 ** 20, `${blocks} blocks`);
  assert.equal(mode & 0o777, 0o640);
  assert.equal(amount.done, amount.total);
  assert.deepEqual(disksIn(at('new')), [DISK]);
  // its copies can be composed again, and stay where a snapshot is composed in place
  await composeSnapshotFiles(at('new'), at('again'));
  assert.deepEqual(disksIn(at('again')), [DISK]);
  const { signal } = new AbortController();
  await composeInPlace(at('diff'), { durable: false, amount, signal, commit: () => undefined });
  assert.deepEqual(disksIn(at('diff')), [DISK]);
  assert.ok(existsSync(from));
});

test('a copy of a disk that is missing, or is no file, is named, and nothing is left', async () => {
  const at = place();
  writeSnapshot(at('full'), { regions: [], edit: withDisk(DISK.file) });
  const path = join(at('full'), DISK.file);
  await assert.rejects(composeSnapshotFiles(at('full'), at('new')), {
    message: `disk data: ${path}: no such file or directory`,
  });
  mkdirSync(path);
  await assert.rejects(composeSnapshotFiles(at('full'), at('new')), /disk data: .*disk-data\.raw: /);
  for (const [i, name] of [
    '../full/disk-data.raw',
    'config.json',
    'disk-../x',
    '/etc/passwd',
    '',
  ].entries()) {
    const { folder } = writeSnapshot(at(`hostile${i}`), { regions: [], edit: withDisk(name) });
    await assert.rejects(
      composeSnapshotFiles(folder, at('new')),
      /state\.json: cannot be used: .* is no copy/,
    );
  }
  assert.equal(existsSync(at('new')), false);
});
