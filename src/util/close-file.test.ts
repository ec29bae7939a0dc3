import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deferred } from './deferred.ts';
import { closeRemoved } from './close-file.ts';

test('a close is waited for', async () => {
  const closing = deferred<void>();
  let isClosed = false;
  const closed = closeRemoved({ close: () => closing.promise.then(() => void (isClosed = true)) });
  setImmediate(() => closing.resolve());
  await closed;
  assert.ok(isClosed);
});

test('a close that does not end is not waited for', async () => {
  await closeRemoved({ close: () => deferred<void>().promise });
});

test('a close that fails rejects nothing', async () => {
  await closeRemoved({ close: () => Promise.reject(new Error('EIO')) });
});
