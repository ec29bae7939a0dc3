import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isActive, readOperation, readOperations } from './operation.ts';

const RUNNING = {
  id: 'a',
  kind: 'vm.snapshot',
  state: 'running',
  cancellable: true,
  progress: { phase: 'memory', done: 5, total: 10, unit: 'bytes' },
};

test('an operation is read with its progress', () => {
  const operation = readOperation(RUNNING);
  assert.deepEqual(operation, {
    id: 'a',
    kind: 'vm.snapshot',
    state: 'running',
    canBeCancelled: true,
    phase: 'memory',
    done: 5,
    total: 10,
    error: [],
  });
  assert.ok(isActive(operation));
});

test('a failed operation is not active and has its messages', () => {
  const failed = readOperation({ ...RUNNING, state: 'failed', error: ['vm.snapshot failed', 'no space'] });
  assert.deepEqual([isActive(failed), failed.error], [false, ['vm.snapshot failed', 'no space']]);
});

test('a text that is no list has no operations', () => {
  assert.deepEqual(readOperations(null), []);
  assert.equal(readOperations([RUNNING, {}]).length, 2);
});
