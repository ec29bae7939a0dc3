import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deferred } from '../util/deferred.ts';
import { createQueue } from './operation-queue.ts';

const ENDED = /was ended: the VM is to be shut down/;
const AT_ONCE = { grace: 1, abandon: 1 };
const LATE = { grace: 60_000, abandon: 60_000 };

/** Returns an operation that the test completes. */
function held() {
  const { promise, resolve } = deferred<string>();
  return { operation: () => promise, end: () => resolve('done') };
}

test('operations run in the order of arrival, also after one that failed', async () => {
  const order: number[] = [];
  const queue = createQueue();
  const first = queue.run(async () => {
    order.push(1);
    throw new Error('failed');
  });
  const second = queue.run(async () => void order.push(2));
  await assert.rejects(first, /^Error: failed$/);
  await second;
  assert.deepEqual(order, [1, 2]);
});

test('an operation that throws at once fails as any other', async () => {
  let tidied = 0;
  const queue = createQueue(() => tidied++);
  const thrown = queue.run((): Promise<void> => {
    throw new Error('at once');
  });
  await assert.rejects(thrown, /^Error: at once$/);
  assert.equal(tidied, 1);
});

test('the clean-up follows each operation, before the next one runs', async () => {
  const order: string[] = [];
  const queue = createQueue(() => order.push('tidy'));
  await Promise.all([1, 2].map((n) => queue.run(async () => order.push(`operation ${n}`))));
  assert.deepEqual(order, ['operation 1', 'tidy', 'operation 2', 'tidy']);
});

test('an interrupt ends waits for the host, also of operations that are still queued', async () => {
  const queue = createQueue(undefined, LATE);
  const { operation, end } = held();
  const running = queue.run(operation);
  const waiting = queue.run(async ({ waits, kill }) => [waits.aborted, kill.aborted]);
  queue.interrupt(() => assert.fail('nothing was to be killed'));
  const after = queue.run(async ({ waits }) => waits.aborted);
  end();
  assert.equal(await running, 'done');
  assert.deepEqual(await waiting, [true, false]);
  assert.equal(await after, false);
});

test('an operation over its deadline is killed, then abandoned; queued ones do not start', async () => {
  const queue = createQueue(undefined, AT_ONCE);
  let kills = 0;
  const { operation, end } = held();
  const running = queue.run(operation);
  const waiting = queue.run(() => assert.fail('it was begun'));
  queue.interrupt(() => kills++);
  const after = queue.run(async () => 'shut down');
  await assert.rejects(running, ENDED);
  await assert.rejects(waiting, ENDED);
  assert.equal(await after, 'shut down');
  assert.equal(kills, 1);
  end();
});

test('an operation whose QEMU was killed fails with its own message', async () => {
  const queue = createQueue(undefined, { grace: 1, abandon: 60_000 });
  const { promise, reject } = deferred<void>();
  const running = queue.run(() => promise);
  queue.interrupt(() => reject(new Error('QEMU ended')));
  await assert.rejects(running, /QEMU ended/);
});

test('an interrupt of nothing kills nothing', async () => {
  const queue = createQueue(undefined, AT_ONCE);
  await queue.run(async () => undefined);
  queue.interrupt(() => assert.fail('nothing was to be killed'));
  const { operation, end } = held();
  const later = queue.run(operation);
  setTimeout(end, 20);
  assert.equal(await later, 'done');
});
