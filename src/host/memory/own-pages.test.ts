import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { libc, loadLibc } from '../../native/libc.ts';
import { unmap, viewOf } from '../../native/memory.ts';
import { checked } from '../../native/system-error.ts';
import type { Extent } from './extents.ts';
import { ownPages, readPrivatePages } from './own-pages.ts';

const PAGE = 4096;
const READ_WRITE = 3;
const PRIVATE = 0x2;

// a file system in memory: the pages of a mapping are those of the file
const folder = mkdtempSync(join('/dev/shm', 'own-pages-'));
after(() => rmSync(folder, { recursive: true, force: true }));
before(loadLibc);

/** Maps a file of `pages` pages privately, reads each page, writes to some, and returns their runs as both ways find them. */
async function findWritten(pages: number, written: Iterable<number>): Promise<readonly [Extent[], Extent[]]> {
  await using file = await open(join(folder, `${pages}`), 'w+');
  await file.truncate(pages * PAGE);
  const bytes = pages * PAGE;
  const address = checked('mmap', libc().mmap(0, bytes, READ_WRITE, PRIVATE, file.fd, 0));
  try {
    const memory = viewOf(address, bytes);
    for (let page = 0; page < pages; page++) memory.getUint8(page * PAGE);
    for (const page of written) memory.setUint8(page * PAGE, 1);
    await using pagemap = await open('/proc/self/pagemap', 'r');
    return [
      await ownPages(process.pid, address, bytes),
      await readPrivatePages(process.pid, pagemap, { offset: address, length: bytes }),
    ];
  } finally {
    unmap(address, bytes);
  }
}

const run = (page: number, pages: number): Extent => ({ offset: page * PAGE, length: pages * PAGE });

test('written pages of a private mapping are found as runs, pages that were only read are not', async () => {
  const [scanned, read] = await findWritten(64, [3, 4, 5, 40, 63]);
  assert.deepEqual(scanned, [run(3, 3), run(40, 1), run(63, 1)]);
  assert.deepEqual(read, scanned);
});

test('a mapping without written pages has none', async () => {
  assert.deepEqual(await findWritten(16, []), [[], []]);
});

test('more runs than one call of the kernel returns are found', async () => {
  const every = Array.from({ length: 10_000 }, (_, i) => 2 * i + 1);
  const [scanned, read] = await findWritten(20_002, every);
  assert.deepEqual(
    scanned,
    every.map((page) => run(page, 1)),
  );
  assert.deepEqual(read, scanned);
});

test('pages of a process that has ended cannot be found', async () => {
  await assert.rejects(ownPages(2 ** 22 + 1, 0, PAGE), /ENOENT/);
});
