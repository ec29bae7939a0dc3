import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadLibc } from '../../native/libc.ts';
import { checked } from '../../native/system-error.ts';
import { copyMapped } from './copy-mapped.ts';
import { dataExtents, type Extent } from './extents.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const BYTES = 40 * MIB;
const FOLDER = mkdtempSync(join(tmpdir(), 'copy-mapped-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));

const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SHRINK = 2;

/** Returns a memfd with bytes of which no page is like another, from which pages of zeros and holes are left out. */
async function memoryOf(filled: readonly Extent[], sealed = true): Promise<FileHandle> {
  const { memfd_create, fcntl, close } = await loadLibc();
  const fd = checked('memfd_create', memfd_create('copy-mapped', MFD_ALLOW_SEALING));
  try {
    const file = await open(`/proc/self/fd/${fd}`, 'r+');
    await file.truncate(BYTES);
    if (sealed) checked('fcntl', fcntl(fd, F_ADD_SEALS, 'int', F_SEAL_SHRINK));
    for (const { offset, length } of filled) await file.write(contentAt(offset, length), 0, length, offset);
    return file;
  } finally {
    close(fd);
  }
}

function contentAt(offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 7);
  for (let at = 0; at < length; at += PAGE) bytes.writeUInt32LE((offset + at) / PAGE + 1, at);
  return bytes;
}

async function allBytes(file: FileHandle): Promise<Buffer> {
  const bytes = Buffer.alloc(BYTES);
  await file.read(bytes, 0, BYTES, 0);
  return bytes;
}

/** Long runs that end within the windows of a copy, and a page. */
const FILLED: readonly Extent[] = [
  { offset: 3 * PAGE, length: 10 * MIB },
  { offset: 12 * MIB, length: PAGE },
  { offset: 13 * MIB, length: 20 * MIB + 5 * PAGE },
];

const { signal } = new AbortController();

test('pages of a memfd are copied; its holes and pages of zeros are holes of the copy', async () => {
  await using source = await memoryOf(FILLED);
  await source.write(Buffer.alloc(MIB), 0, MIB, 5 * MIB);
  await source.write(Buffer.alloc(PAGE), 0, PAGE, 14 * MIB);
  await using target = await open(join(FOLDER, 'copy'), 'w+');
  await target.truncate(BYTES);
  const { blocks } = await source.stat();
  const amount = { done: 0, total: 0 };
  const ends = { from: { file: source, base: 0 }, to: { file: target, base: 0 } };
  assert.ok(await copyMapped({ ...ends, extents: await dataExtents(source.fd, all), amount, signal }));
  assert.ok((await allBytes(target)).equals(await allBytes(source)));
  const bytes = 30 * MIB + 6 * PAGE;
  assert.deepEqual(amount, { done: bytes, total: bytes });
  assert.equal((await source.stat()).blocks, blocks);
  assert.ok((await target.stat()).blocks * 512 <= bytes - MIB);
});

const all: Extent = { offset: 0, length: BYTES };

test('a part of a memfd is copied to another place of the file', async () => {
  await using source = await memoryOf([all]);
  await using target = await open(join(FOLDER, 'part'), 'w+');
  const ends = { from: { file: source, base: 2 * MIB }, to: { file: target, base: PAGE } };
  const extents = [{ offset: 3 * PAGE, length: 9 * MIB }];
  assert.ok(await copyMapped({ ...ends, extents, amount: { done: 0, total: 0 }, signal }));
  const copied = Buffer.alloc(9 * MIB);
  await target.read(copied, 0, copied.length, 4 * PAGE);
  assert.ok(copied.equals(contentAt(2 * MIB + 3 * PAGE, 9 * MIB)));
  assert.equal((await target.stat()).size, 9 * MIB + 4 * PAGE);
});

test('files that may shrink, other files, and short runs are not mapped', async () => {
  await using sealed = await memoryOf([all]);
  await using shrinkable = await memoryOf([all], false);
  await using onDisk = await open(join(FOLDER, 'source'), 'w+');
  await onDisk.truncate(BYTES);
  await using target = await open(join(FOLDER, 'none'), 'w+');
  const short = Array.from({ length: 100 }, (_, i) => ({ offset: i * 8 * PAGE, length: PAGE }));
  for (const [file, extents] of [
    [sealed, short],
    [shrinkable, [all]],
    [onDisk, [all]],
  ] as const) {
    const amount = { done: 0, total: 0 };
    const copy = { from: { file, base: 0 }, to: { file: target, base: 0 }, extents, amount, signal };
    assert.equal(await copyMapped(copy), false);
    assert.deepEqual(amount, { done: 0, total: 0 });
  }
  assert.equal((await target.stat()).size, 0);
});

test('a copy rejects with the reason of a write that fails, and when it is aborted', async () => {
  await using source = await memoryOf([all]);
  const path = join(FOLDER, 'failing');
  await using target = await open(path, 'w');
  await using readonly = await open(path, 'r');
  const copy = { from: { file: source, base: 0 }, extents: [all] };
  const amount = { done: 0, total: 0 };
  await assert.rejects(copyMapped({ ...copy, to: { file: readonly, base: 0 }, amount, signal }), {
    code: 'EBADF',
  });
  assert.equal(amount.done, 0);
  const abort = new AbortController();
  const aborted = copyMapped({ ...copy, to: { file: target, base: 0 }, amount, signal: abort.signal });
  abort.abort(new Error('cancelled'));
  await assert.rejects(aborted, /cancelled/);
  assert.equal(amount.done, 0);
});
