import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { OperationInfo } from '../../api/operations.ts';
import { ApiError } from '../../api/errors.ts';
import type { ClientOperation } from '../../api/route.ts';
import { deferred } from '../../util/deferred.ts';
import { createRegistry, type OperationRegistry } from './registry.ts';

const idOf = ({ location }: { location: string }): string => location.replace('vmm.operations/', '');

/** Starts an operation that ends when its signal is aborted, or by `finish`. */
function startOne(registry: OperationRegistry, startsNow = true, wait?: number) {
  const end = deferred<unknown>();
  const started = deferred<ClientOperation>();
  const run = (operation: ClientOperation): Promise<unknown> => {
    operation.signal.addEventListener('abort', () => end.reject(operation.signal.reason));
    started.resolve(operation);
    return end.promise;
  };
  const id = idOf(registry.start({ kind: 'vm.snapshot', wait, run }, startsNow));
  return { id, operation: started.promise, finish: end.resolve, fail: end.reject };
}

test('an operation has its result, or the messages of its error', async () => {
  const registry = createRegistry(() => undefined);
  const [good, bad] = [startOne(registry), startOne(registry, false)];
  assert.deepEqual([registry.get(good.id).state, registry.get(bad.id).state], ['running', 'queued']);
  (await bad.operation).begin();
  assert.equal(registry.get(bad.id).state, 'running');
  good.finish({ id: '_disk1' });
  bad.fail(new ApiError('unknown-device', 'No device', { cause: new Error('why') }));
  await delay(0);
  assert.deepEqual(registry.get(good.id).result, { id: '_disk1' });
  const { state, error, code, finished } = registry.get(bad.id);
  assert.deepEqual([state, code], ['failed', 'unknown-device']);
  assert.deepEqual(error, ['vm.snapshot failed', 'No device', 'why']);
  assert.ok(finished !== undefined);
});

test('a cancelled operation has ended when the answer comes', async () => {
  const registry = createRegistry(() => undefined);
  const { id } = startOne(registry);
  assert.equal((await registry.cancel(id)).state, 'cancelled');
  // a second request changes nothing
  assert.equal((await registry.cancel(id)).state, 'cancelled');
  await assert.rejects(registry.cancel('none'), { code: 'unknown-operation' });
});

test('a queued operation is cancelled at once, and never begins', async () => {
  const registry = createRegistry(() => undefined);
  const one = startOne(registry, false);
  assert.equal((await registry.cancel(one.id)).state, 'cancelled');
  const operation = await one.operation;
  assert.throws(() => operation.begin(), { message: 'The operation was cancelled' });
});

test('a committed operation is not cancelled, and a cancelled one not committed', async () => {
  const registry = createRegistry(() => undefined);
  const [committed, cancelled] = [startOne(registry), startOne(registry)];
  (await committed.operation).commit('The destination takes over');
  assert.equal(registry.get(committed.id).cancellable, false);
  const refusal = { code: 'not-cancellable', message: 'The destination takes over' };
  await assert.rejects(registry.cancel(committed.id), refusal);
  assert.ok(!(await committed.operation).signal.aborted);
  await registry.cancel(cancelled.id);
  const operation = await cancelled.operation;
  assert.throws(() => operation.commit('too late'));
});

test('at its time limit an operation fails, and a committed one only stops to wait', async () => {
  const registry = createRegistry(() => undefined);
  const [one, committed] = [startOne(registry, true, 0), startOne(registry, true, 0)];
  (await committed.operation).commit('asked');
  await delay(20);
  const { state, error } = registry.get(one.id);
  assert.equal(state, 'failed');
  assert.deepEqual(error, ['vm.snapshot failed', 'It was not complete after 0 s']);
  assert.equal(registry.get(committed.id).state, 'running');
  assert.ok((await committed.operation).expired.aborted);
});

test('pending and finished operations are bounded', async () => {
  const registry = createRegistry(() => undefined);
  const pending = Array.from({ length: 64 }, () => startOne(registry));
  assert.throws(() => startOne(registry), { code: 'busy' });
  for (const { finish } of pending) finish(undefined);
  await delay(0);
  const late = startOne(registry);
  late.finish(undefined);
  await delay(0);
  assert.equal(registry.list().length, 64);
  assert.equal(registry.list().at(-1)?.id, late.id);
  assert.throws(() => registry.get(pending[0]?.id ?? ''), { code: 'unknown-operation' });
});

test('a long operation that others overtake is kept after its end', async () => {
  const registry = createRegistry(() => undefined);
  const long = startOne(registry);
  for (let i = 0; i < 100; i++) {
    startOne(registry).finish(undefined);
    await delay(0);
  }
  long.finish({ id: 'disk' });
  await delay(0);
  assert.equal(registry.get(long.id).state, 'succeeded');
  assert.equal(registry.list().length, 64);
});

test('events have each state, and the progress at most five times a second', async () => {
  const events: OperationInfo[] = [];
  const registry = createRegistry((info) => events.push(info));
  const one = startOne(registry);
  const amount = { done: 0, total: 100 };
  (await one.operation).enter('writing memory', amount);
  for (let i = 0; i < 50; i++) {
    amount.done += 1;
    await delay(10);
  }
  one.finish(undefined);
  await delay(0);
  const states = events.map(({ state }) => state);
  assert.deepEqual([states[0], states.at(-1)], ['running', 'succeeded']);
  assert.ok(events.length > 2 && events.length < 12, String(events.length));
  assert.deepEqual(events.at(-1)?.progress, {
    phase: 'writing memory',
    done: 50,
    total: 100,
    unit: 'bytes',
  });
});
