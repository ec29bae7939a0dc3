import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadLibc } from '../../native/libc.ts';
import { allocate } from '../../native/memory.ts';
import { copyExtents, nonZeroExtents } from './copy-extents.ts';
import { subtract } from './extent-sets.ts';
import { dataExtents, joinExtents, limitExtents } from './extents.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
// a file system in memory: its holes are pages, on any disk
const FOLDER = mkdtempSync(join('/dev/shm', 'extents-'));
before(loadLibc);
after(() => rmSync(FOLDER, { recursive: true, force: true }));

/** A sparse file of 4 MiB with bytes at some offsets. */
async function sparse(name: string, parts: readonly [number, Buffer][]): Promise<FileHandle> {
  const file = await open(join(FOLDER, name), 'w+');
  await file.truncate(4 * MIB);
  for (const [at, bytes] of parts) await file.write(bytes, 0, bytes.length, at);
  return file;
}

const pages = (count: number, fill: number): Buffer => Buffer.alloc(count * PAGE, fill);

test('runs that are close together become one', () => {
  const runs = [
    { offset: 0, length: 10 },
    { offset: 10, length: 5 },
    { offset: 20, length: 5 },
    { offset: 40, length: 1 },
  ];
  assert.deepEqual(joinExtents(runs, 0), [{ offset: 0, length: 15 }, ...runs.slice(2)]);
  assert.deepEqual(joinExtents(runs, 5), [
    { offset: 0, length: 25 },
    { offset: 40, length: 1 },
  ]);
  assert.deepEqual(joinExtents(runs, 15), [{ offset: 0, length: 41 }]);
  assert.deepEqual(joinExtents([], 5), []);
});

test('many runs become few, and no byte is lost', () => {
  const runs = Array.from({ length: 1000 }, (_, i) => ({ offset: i * i * PAGE, length: PAGE }));
  const few = limitExtents(runs, 10);
  assert.ok(few.length <= 10);
  assert.deepEqual(subtract(runs, few), []);
  assert.deepEqual(limitExtents(runs, 1000), runs);
});

test('the data of a sparse file is found, cut at the range’s ends', async () => {
  await using file = await sparse('data', [
    [2 * PAGE, pages(2, 1)],
    [MIB, pages(1, 2)],
  ]);
  const all = [
    { offset: 2 * PAGE, length: 2 * PAGE },
    { offset: MIB, length: PAGE },
  ];
  assert.deepEqual(await dataExtents(file.fd, { offset: 0, length: 4 * MIB }), all);
  assert.deepEqual(await dataExtents(file.fd, { offset: 3 * PAGE, length: MIB }), [
    { offset: 3 * PAGE, length: PAGE },
    { offset: MIB, length: PAGE },
  ]);
  assert.deepEqual(await dataExtents(file.fd, { offset: 2 * MIB, length: MIB }), []);
});

test('pages of zeros are left out', () => {
  const late = pages(1, 0);
  late[PAGE - 1] = 1;
  const bytes = Buffer.concat([pages(1, 0), late, pages(2, 7), pages(1, 0), Buffer.from([0, 5])]);
  assert.deepEqual(nonZeroExtents(bytes), [
    { offset: PAGE, length: 3 * PAGE },
    { offset: 5 * PAGE, length: 2 },
  ]);
  assert.deepEqual(nonZeroExtents(pages(3, 0)), []);
});

test('a copy has every byte at its offset, and the holes of the source', async () => {
  const long = Buffer.alloc(2 * MIB + PAGE, 'long');
  await using from = await sparse('from', [
    [PAGE, long],
    [3 * MIB, pages(4, 0)],
  ]);
  await using to = await sparse('to', []);
  const extents = [
    { offset: 0, length: long.length },
    { offset: 3 * MIB - PAGE, length: 4 * PAGE },
  ];
  const copy = { from: { file: from, base: PAGE }, to: { file: to, base: 2 * PAGE }, extents };
  const amount = { done: 0, total: 0 };
  await copyExtents({ ...copy, skipZeros: true, amount });
  assert.deepEqual(amount, { done: long.length + 4 * PAGE, total: long.length + 4 * PAGE });
  const { buffer } = await to.read(Buffer.alloc(long.length), 0, long.length, 2 * PAGE);
  assert.ok(buffer.equals(long));
  const found = await dataExtents(to.fd, { offset: 0, length: 4 * MIB });
  assert.deepEqual(found, [{ offset: 2 * PAGE, length: long.length }]);
});

test('zeros are written to targets with contents; a side that ends early is an error', async () => {
  await using from = await sparse('zeros', []);
  await using to = await sparse('full', [[0, pages(4, 9)]]);
  const extents = [{ offset: 0, length: 2 * PAGE }];
  await copyExtents({
    from: { file: from, base: 0 },
    to: { file: to, base: PAGE },
    extents,
    skipZeros: false,
  });
  const { buffer } = await to.read(Buffer.alloc(4 * PAGE), 0, 4 * PAGE, 0);
  assert.ok(buffer.equals(Buffer.concat([pages(1, 9), pages(2, 0), pages(1, 9)])));
  const beyond = { from: { file: from, base: 4 * MIB }, to: { file: to, base: 0 }, extents, skipZeros: true };
  await assert.rejects(copyExtents(beyond), /ended before it was read/);
});

test('memory of a process is copied, without its pages of zeros', async () => {
  const block = allocate(4 * PAGE);
  const memory = new Uint8Array(block.view.buffer, 0, 4 * PAGE);
  memory.fill(3, PAGE, 2 * PAGE);
  memory.fill(4, 3 * PAGE);
  await using to = await sparse('memory', []);
  const copy = { from: { pid: process.pid, base: block.address }, to: { file: to, base: MIB } };
  await copyExtents({ ...copy, extents: [{ offset: 0, length: 4 * PAGE }], skipZeros: true });
  const { buffer } = await to.read(Buffer.alloc(4 * PAGE), 0, 4 * PAGE, MIB);
  assert.ok(buffer.equals(memory));
  assert.deepEqual(await dataExtents(to.fd, { offset: 0, length: 4 * MIB }), [
    { offset: MIB + PAGE, length: PAGE },
    { offset: MIB + 3 * PAGE, length: PAGE },
  ]);
  block.free();
});

test('the first error stops a copy; an abort too', async () => {
  await using from = await sparse('long', []);
  await from.truncate(256 * MIB);
  await using to = await sparse('short', []);
  const ends = { from: { file: from, base: 0 }, to: { file: to, base: 0 }, skipZeros: true };
  const extents = [
    { offset: 256 * MIB, length: PAGE },
    { offset: 0, length: 256 * MIB },
  ];
  const amount = { done: 0, total: 0 };
  await assert.rejects(copyExtents({ ...ends, extents, amount }), /ended before it was read/);
  assert.ok(amount.done < 128 * MIB, `${amount.done} bytes were copied`);
  const abort = new AbortController();
  const aborted = copyExtents({ ...ends, extents: extents.slice(1), signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(aborted, /enough/);
});
