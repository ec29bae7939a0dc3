import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { until } from '../../tests/support/wait.ts';
import { loadLibc } from './libc.ts';
import { BATCH_RUNS, createWriteBatch, type WriteRun } from './write-batch.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'write-batch-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));

const BYTES = Buffer.allocUnsafeSlow(64 * 1024);
for (let i = 0; i < BYTES.length; i++) BYTES[i] = i * 31 + (i >> 8);

/** Returns the run of some of the bytes at twice their offset. */
async function runAt(start: number, length: number): Promise<WriteRun> {
  const { addressOf } = await loadLibc();
  return { address: addressOf(BYTES) + start, length, offset: 2 * start };
}

test('runs are written at their places in the file, also more than one call takes', async () => {
  using batch = await createWriteBatch();
  assert.ok(batch);
  const path = join(FOLDER, 'runs');
  await using file = await open(path, 'w');
  const starts = Array.from({ length: 2 * BATCH_RUNS + 3 }, (_, i) => i * 200);
  const runs = await Promise.all(starts.map((start) => runAt(start, 100 + (start % 7))));
  assert.deepEqual(await batch.write(file.fd, runs), []);
  const expected = Buffer.alloc(2 * (starts.at(-1) ?? 0) + (runs.at(-1)?.length ?? 0));
  for (const [i, start] of starts.entries())
    BYTES.copy(expected, 2 * start, start, start + (runs[i]?.length ?? 0));
  assert.ok(readFileSync(path).equals(expected));
});

test('runs that cannot be written are returned, and the others are written', async () => {
  using batch = await createWriteBatch();
  const path = join(FOLDER, 'some');
  await using file = await open(path, 'w');
  // no process has memory there
  const unreadable = { address: 4096, length: 100, offset: 0 };
  assert.deepEqual(await batch?.write(file.fd, [unreadable, await runAt(0, 50), unreadable]), [
    unreadable,
    unreadable,
  ]);
  assert.ok(readFileSync(path).equals(BYTES.subarray(0, 50)));
  await using readonly = await open(path, 'r');
  const runs = [await runAt(0, 10), await runAt(10, 10)];
  assert.deepEqual(await batch?.write(readonly.fd, runs), runs);
});

test('a batch leaves nothing', async () => {
  const rings = (): number => readFileSync('/proc/self/maps', 'latin1').split('/[aio]').length - 1;
  await until('those of other tests are unmapped', () => rings() === 0);
  {
    using batch = await createWriteBatch();
    assert.ok(batch);
    assert.equal(rings(), 1);
  }
  await until('the ring is unmapped', () => rings() === 0);
});
