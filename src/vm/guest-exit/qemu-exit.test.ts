import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../api/errors.ts';
import { typedExecute } from '../../qemu/qmp/commands/index.ts';
import { QmpError } from '../../qemu/qmp/qmp-error.ts';
import { asFailedOperation, withExitReason } from './qemu-exit.ts';

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

test('a QEMU that exits on a damaged state is reported with the directory and its reason', async () => {
  const closed = async () => Promise.reject(new QmpError('query-migrate', 'QEMU ended before it answered'));
  const qemu = {
    qmp: { version: [10, 0, 2] as const, execute: typedExecute(closed) },
    ended: Promise.resolve({ reason: 'crash', detail: 'exit code 1: load failed' } as const),
  };
  await assert.rejects(
    withExitReason(qemu, closed, '/s, "x'),
    new ApiError('failed', '/s, "x: QEMU ended unexpectedly (exit code 1: load failed)'),
  );
});
