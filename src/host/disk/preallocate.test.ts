import assert from 'node:assert/strict';
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { preallocate } from './preallocate.ts';

const BYTES = 2 ** 20;

test('a file gets all blocks and keeps bytes and size; folders and aborts are refused', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'preallocate-'));
  try {
    const path = join(folder, 'a, file');
    writeFileSync(path, 'bytes');
    truncateSync(path, BYTES);
    assert.ok(statSync(path).blocks * 512 < BYTES);
    await preallocate(path, new AbortController().signal);
    assert.ok(statSync(path).blocks * 512 >= BYTES);
    assert.equal(statSync(path).size, BYTES);
    assert.equal(readFileSync(path, 'utf8').slice(0, 6), 'bytes\0');
    await assert.rejects(preallocate(folder, new AbortController().signal));
    await assert.rejects(preallocate(path, AbortSignal.abort()));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a file for which the file system lacks the space takes none of it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'preallocate-'));
  try {
    const path = join(folder, 'file');
    writeFileSync(path, '');
    const { bavail, bsize } = statfsSync(folder);
    truncateSync(path, bavail * bsize + 2 ** 30);
    await assert.rejects(
      preallocate(path, new AbortController().signal),
      /^Error: ENOSPC: it needs \d+ bytes more, and \d+ are free on its file system/,
    );
    assert.equal(statSync(path).blocks, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
