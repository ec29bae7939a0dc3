import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { libc, loadLibc } from '../../../native/libc.ts';
import { mapShared, unmap, viewOf } from '../../../native/memory.ts';
import { createMemfd } from '../../../native/memfd.ts';
import { checked } from '../../../native/system-error.ts';
import { preloadPages } from './apply-pages.ts';
import { changedPages, type ComparedRegion, type FoundPages } from './changed-pages.ts';
import { createOpenFiles } from '../../../snapshot-files/open-files.ts';
import { writePacked } from './packed-pages.ts';
import { regionSources, type RegionSource } from '../../../snapshot-files/region-source.ts';

// this process has the memory of QEMU in these tests
const PAGE = 4096;
const PAGES = 64;
const BYTES = PAGES * PAGE;
const { signal } = new AbortController();
const folder = mkdtempSync(join('/dev/shm', 'changed-pages-'));
after(() => rmSync(folder, { recursive: true, force: true }));
before(loadLibc);

const run = (page: number, pages = 1) => ({ offset: page * PAGE, length: pages * PAGE });

/** Writes a full snapshot in which some pages are filled with their number. */
async function fullSnapshot(name: string, pages: readonly number[]): Promise<RegionSource> {
  const path = join(folder, name);
  await using file = await open(path, 'w');
  await file.truncate(BYTES);
  for (const page of pages) await file.write(Buffer.alloc(PAGE, page), 0, PAGE, page * PAGE);
  return sourceOf([{ path, pages: undefined }]);
}

function sourceOf(chain: readonly { path: string; pages: FoundPages['pages'] | undefined }[]): RegionSource {
  const members = chain.map(({ path, pages }) => ({
    folder: path,
    path,
    identity: '',
    regions: [{ id: 'ram', offset: 0, length: BYTES, pages: pages && [...pages] }],
  }));
  const [source] = regionSources(members);
  assert.ok(source !== undefined);
  return source;
}

const blockAt = (address: number): ComparedRegion['block'] => ({
  name: 'ram',
  length: BYTES,
  address,
  planned: true,
  huge: false,
});

/** Writes the changed pages into a file, and returns them as page numbers. */
async function save(
  source: RegionSource,
  address: number,
  options: { name: string; knownOwn?: ComparedRegion['knownOwn'] },
) {
  await using files = createOpenFiles();
  const path = join(folder, options.name);
  const { knownOwn } = options;
  const region = { pid: process.pid, block: blockAt(address), source, knownOwn };
  const found = await changedPages(region, files, signal);
  await using file = await open(path, 'w');
  const amount = { done: 0, total: 0 };
  const size = await writePacked({ pid: process.pid, address, found }, { file, start: 0, amount, signal });
  await file.truncate(size);
  return { path, pages: found.pages };
}

test('RAM of the process: pages with other bytes, new ones, and those that were released', async () => {
  const source = await fullSnapshot('full', [1, 2, 3, 10]);
  using memfd = await createMemfd('ram');
  const { ftruncate } = libc();
  checked('ftruncate', ftruncate(memfd.fd, BYTES));
  const address = mapShared(memfd.fd, BYTES);
  const memory = new Uint8Array(viewOf(address, BYTES).buffer);
  // 1 is unchanged, the last byte of 2 differs, 3 is zeros, 10 was never touched, 20 is new, 30 is touched and still zeros
  for (const page of [1, 2]) memory.fill(page, page * PAGE, (page + 1) * PAGE);
  memory[3 * PAGE - 1] = 99;
  memory.fill(0, 3 * PAGE, 4 * PAGE);
  memory.fill(20, 20 * PAGE, 21 * PAGE);
  memory[30 * PAGE] = 0;
  const { path, pages } = await save(source, address, { name: 'diff' });
  assert.deepEqual(pages, [run(2, 2), run(10), run(20)]);
  assert.equal(readFileSync(path).length, 4 * PAGE);
  // a hole stays one
  assert.deepEqual([memfdPages(memfd.fd, 10), memfdPages(memfd.fd, 20)], [false, true]);
  await restoresTo(
    memory,
    sourceOf([
      { path, pages },
      { path: join(folder, 'full'), pages: undefined },
    ]),
  );
  unmap(address, BYTES);
});

/** Returns whether a page of a file in memory is allocated. */
function memfdPages(fd: number, page: number): boolean {
  const SEEK_DATA = 3;
  return libc().lseek(fd, page * PAGE, SEEK_DATA) === page * PAGE;
}

/** Checks that the files of a chain, mapped and completed, have the bytes of the memory. */
async function restoresTo(memory: Uint8Array, source: RegionSource): Promise<void> {
  await using files = createOpenFiles();
  const whole = await files.open(source.whole.path);
  const address = mapPrivately(whole.fd);
  await preloadPages([source], files).apply(source.id, { pid: process.pid, address }, signal);
  const restored = Buffer.from(viewOf(address, BYTES).buffer);
  assert.equal(restored.compare(memory), 0);
  unmap(address, BYTES);
}

function mapPrivately(fd: number): number {
  return checked('mmap', libc().mmap(0, BYTES, 3, 2, fd, 0));
}

test('a mapped file of the chain: private pages, without those that are as they were', async () => {
  const full = await fullSnapshot('mapped', [1, 2, 3]);
  await using files = createOpenFiles();
  const address = mapPrivately((await files.open(full.whole.path)).fd);
  const memory = new Uint8Array(viewOf(address, BYTES).buffer);
  memory.fill(7, 5 * PAGE, 8 * PAGE);
  const first = await save(full, address, { name: 'first', knownOwn: [] });
  assert.deepEqual(first.pages, [run(5, 3)]);
  const chain = [first, { path: full.whole.path, pages: undefined }];

  memory.fill(8, 6 * PAGE, 7 * PAGE);
  memory.fill(9, 40 * PAGE, 41 * PAGE);
  const second = await save(sourceOf(chain), address, { name: 'second', knownOwn: first.pages });
  assert.deepEqual(second.pages, [run(6), run(40)]);
  await restoresTo(memory, sourceOf([second, ...chain]));

  const third = await save(sourceOf([second, ...chain]), address, {
    name: 'third',
    knownOwn: [run(5, 3), run(40)],
  });
  assert.deepEqual(third.pages, []);
  unmap(address, BYTES);
});

test('a private page that was released has the bytes of the file again: it has changed', async () => {
  const full = await fullSnapshot('released', [1]);
  await using files = createOpenFiles();
  const address = mapPrivately((await files.open(full.whole.path)).fd);
  const memory = new Uint8Array(viewOf(address, BYTES).buffer);
  memory.fill(7, PAGE, 2 * PAGE);
  const first = await save(full, address, { name: 'before', knownOwn: [] });
  const MADV_DONTNEED = 4;
  checked('madvise', libc().madvise(address, BYTES, MADV_DONTNEED));
  const chain = [first, { path: full.whole.path, pages: undefined }];
  const second = await save(sourceOf(chain), address, { name: 'after', knownOwn: first.pages });
  assert.deepEqual(second.pages, [run(1)]);
  await restoresTo(memory, sourceOf([second, ...chain]));
  unmap(address, BYTES);
});
