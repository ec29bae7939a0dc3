import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { blockReservation } from './block-reservation.ts';

const MIB = 2 ** 20;
const EXT4 = 0xef53;
const folders = [mkdtempSync(join(tmpdir(), 'blocks-')), mkdtempSync(join('/dev/shm', 'blocks-'))];
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

async function allocatedBytes(file: FileHandle): Promise<number> {
  return (await file.stat()).blocks * 512;
}

/** Bytes that a file of 0 bytes takes in each folder where blocks are reserved. */
const onExt4 = (folder: string, bytes: number): number => (statfsSync(folder).type === EXT4 ? bytes : 0);

test('blocks are reserved on ext4 only, for long runs; the size of the file stays', async () => {
  for (const folder of folders) {
    await using file = await open(join(folder, 'file'), 'w+');
    const runs = [
      { offset: 0, length: 4096 },
      { offset: MIB, length: MIB },
      { offset: 4 * MIB, length: 4096 },
    ];
    const blocks = await blockReservation(file.fd, runs);
    blocks.reach(4 * MIB + 4096);
    await blocks[Symbol.asyncDispose]();
    assert.equal(await allocatedBytes(file), onExt4(folder, MIB));
    assert.equal((await file.stat()).size, 0);
  }
});

test('blocks are reserved 32 MiB ahead of the writes; those of long holes are freed', async () => {
  const [folder = ''] = folders;
  await using file = await open(join(folder, 'ahead'), 'w+');
  await file.truncate(128 * MIB);
  const blocks = await blockReservation(file.fd, [
    { offset: 0, length: 16 * MIB },
    { offset: 20 * MIB, length: 100 * MIB },
  ]);
  blocks.reach(1);
  blocks.release({ offset: 4 * MIB, length: MIB });
  blocks.release({ offset: 8 * MIB, length: 4096 });
  await blocks[Symbol.asyncDispose]();
  assert.equal(await allocatedBytes(file), onExt4(folder, (16 + 32 - 1) * MIB));
});

test('a refused reservation is no error, and is the last one', async () => {
  const [folder = ''] = folders;
  await using file = await open(join(folder, 'refused'), 'w+');
  // beyond the largest file that ext4 can have
  const blocks = await blockReservation(file.fd, [
    { offset: 2 ** 52, length: MIB },
    { offset: 2 ** 52 + 2 * MIB, length: MIB },
  ]);
  blocks.reach(2 ** 53 - 1);
  await blocks[Symbol.asyncDispose]();
  assert.equal(await allocatedBytes(file), 0);
});

test('nothing is reserved where the disk is too small for all runs', async () => {
  const [folder = ''] = folders;
  await using file = await open(join(folder, 'large'), 'w+');
  const { bavail, bsize } = statfsSync(folder);
  const blocks = await blockReservation(file.fd, [{ offset: 0, length: 2 * bavail * bsize }]);
  blocks.reach(MIB);
  await blocks[Symbol.asyncDispose]();
  assert.equal(await allocatedBytes(file), 0);
});
