import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError, errorChain } from './errors.ts';

test('the reason of a cause is told once', () => {
  const system = Object.assign(new Error("EINVAL: is a FIFO, open '/x'"), { code: 'EINVAL' });
  const inner = new Error('/x: is a FIFO', { cause: system });
  assert.deepEqual(errorChain(new ApiError('failed', 'serial _serial: /x: is a FIFO', { cause: inner })), [
    'serial _serial: /x: is a FIFO',
  ]);
  const other = new Error('the disk is full');
  assert.deepEqual(errorChain(new ApiError('failed', 'vm.snapshot', { cause: other })), [
    'vm.snapshot',
    'the disk is full',
  ]);
});
