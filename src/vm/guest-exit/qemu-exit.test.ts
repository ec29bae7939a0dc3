import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../api/errors.ts';
import { QmpError } from '../../qemu/qmp/qmp-error.ts';
import { asFailedOperation } from './qemu-exit.ts';

test('an unanswered command is a failed operation, a fault of this program stays one', async () => {
  await assert.rejects(
    asFailedOperation(() => Promise.reject(new QmpError('stop', 'QEMU ended before it answered'))),
    (error: unknown) =>
      error instanceof ApiError &&
      error.code === 'failed' &&
      error.message === 'stop: QEMU ended before it answered',
  );
  await assert.rejects(
    asFailedOperation(() => Promise.reject(new TypeError('x is undefined'))),
    TypeError,
  );
  assert.equal(await asFailedOperation(() => Promise.resolve(1)), 1);
});
