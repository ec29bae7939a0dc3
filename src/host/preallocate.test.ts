import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { preallocate } from './preallocate.ts';

const BYTES = 2 ** 20;

test('a file gets all its blocks and keeps its bytes and its size; a folder and an aborted wait are refused', async () => {
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
