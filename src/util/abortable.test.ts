import assert from 'node:assert/strict';
import { test } from 'node:test';
import { abortable, abortableAfter, beforeLimit } from './abortable.ts';
import { deferred } from './deferred.ts';

const REASON = new Error('cancelled');

test('an abort ends a wait; a late result is passed on to be released', async () => {
  const controller = new AbortController();
  const work = deferred<string>();
  const released = deferred<string>();
  const waiting = abortable(controller.signal, work.promise, released.resolve);
  controller.abort(REASON);
  await assert.rejects(waiting, REASON);
  work.resolve('late');
  assert.equal(await released.promise, 'late');
  await assert.rejects(abortable(controller.signal, work.promise), REASON);
});

test('a result in time is not released, and an error of the work is that of the wait', async () => {
  const { signal } = new AbortController();
  const never = (): void => assert.fail('released');
  assert.equal(await abortable(signal, Promise.resolve(1), never), 1);
  await assert.rejects(abortable(signal, Promise.reject(REASON)), REASON);
});

test('a wait goes on for a time after the abort', async () => {
  const controller = new AbortController();
  const [work, never] = [deferred<string>(), deferred<string>()];
  const patient = abortableAfter(controller.signal, 60_000, work.promise);
  const short = abortableAfter(controller.signal, 5, never.promise);
  controller.abort(REASON);
  await assert.rejects(short, REASON);
  work.resolve('done');
  assert.equal(await patient, 'done');
  await assert.rejects(abortableAfter(controller.signal, 5, never.promise), REASON);
});

test('a wait has a limit', async () => {
  await assert.rejects(beforeLimit(deferred<void>().promise, 5), /no end within 0\.005 s/);
  assert.equal(await beforeLimit(Promise.resolve('done'), 60_000), 'done');
});
