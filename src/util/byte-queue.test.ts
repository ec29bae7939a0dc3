import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createByteQueue, dropOldest } from './byte-queue.ts';

test('bytes keep their order across blocks', () => {
  const queue = createByteQueue();
  const all = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251));
  for (let i = 0; i < all.length; i += 777) queue.push(all.subarray(i, i + 777));
  assert.equal(queue.length(), all.length);
  const out: Buffer[] = [];
  while (queue.length() > 0) {
    const part = Buffer.from(queue.front().subarray(0, 1000));
    out.push(part);
    queue.drop(part.length);
  }
  assert.ok(Buffer.concat(out).equals(all));
  assert.equal(queue.front().length, 0);
});

test('the newest bytes stay', () => {
  const queue = createByteQueue();
  for (let i = 0; i < 1000; i++) queue.push(Buffer.from(`${String(i).padStart(3, '0')}\n`));
  assert.equal(dropOldest(queue, 8), 3992);
  assert.equal(queue.front().toString(), '998\n999\n');
  assert.equal(dropOldest(queue, 8), 0);
});

test('many single bytes take no more memory than one piece', () => {
  const queue = createByteQueue();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 2 ** 18; i++) queue.push(Buffer.of(65));
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 20);
  assert.equal(queue.length(), 2 ** 18);
});
