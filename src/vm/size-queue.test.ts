import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConsoleReport, ConsoleRequest } from '../api/console-messages.ts';
import { deferred } from '../util/deferred.ts';
import { createSizeQueue } from './size-queue.ts';

const sizeOf = (columns: number): ConsoleRequest => ({ type: 'resize', columns, rows: 1 });

test('of many sizes the first and the last are applied, and each is answered in order', async () => {
  const applied: number[] = [];
  const answers: ConsoleReport[] = [];
  const slow = deferred<void>();
  const request = createSizeQueue(
    async ({ columns }) => {
      applied.push(columns);
      await slow.promise;
      return { type: 'resize', applied: true };
    },
    (answer) => answers.push(answer) > 0,
  );
  const all = Array.from({ length: 1000 }, (_, i) => request(sizeOf(i + 1)));
  assert.deepEqual(applied, [1]);
  slow.resolve();
  await Promise.all(all);
  assert.deepEqual(applied, [1, 1000]);
  assert.equal(answers.length, 1000);
  const isApplied = answers.map((answer) => answer.type === 'resize' && answer.applied);
  assert.deepEqual([isApplied[0], isApplied.at(-1), isApplied.lastIndexOf(true)], [true, true, 999]);
  assert.ok(!isApplied.slice(1, -1).includes(true));
  await request(sizeOf(7));
  assert.deepEqual(applied, [1, 1000, 7]);
});

test('a viewer to which no answer can be sent gets no further one', async () => {
  let answers = 0;
  const slow = deferred<void>();
  const request = createSizeQueue(
    async () => {
      await slow.promise;
      return { type: 'resize', applied: true };
    },
    () => ++answers < 2,
  );
  const all = [1, 2, 3, 4].map((columns) => request(sizeOf(columns)));
  slow.resolve();
  await Promise.all(all);
  assert.equal(answers, 2);
});
