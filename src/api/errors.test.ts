import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hiddenCause } from '../util/hidden-cause.ts';
import { ApiError, errorChain } from './errors.ts';

test('the reason of a cause is reported once', () => {
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

test('the chain ends at a message that has the reason of its cause, whatever is below', () => {
  const system = Object.assign(new Error('EINVAL: invalid argument, ioctl'), { code: 'EINVAL' });
  const inner = new Error('the file system has no direct I/O', { cause: system });
  const outer = new ApiError('failed', 'disk _disk0: the file system has no direct I/O', { cause: inner });
  assert.deepEqual(errorChain(outer), ['disk _disk0: the file system has no direct I/O']);
  assert.deepEqual(errorChain(new Error('vm.boot', { cause: outer })), [
    'vm.boot',
    'disk _disk0: the file system has no direct I/O',
  ]);
});

test('the chain ends before a hidden cause', () => {
  const inner = new Error('Failed to get "write" lock');
  const outer = new ApiError('failed', 'disk _disk0: is in use', hiddenCause(inner));
  assert.deepEqual(errorChain(outer), ['disk _disk0: is in use']);
  assert.equal(outer.cause instanceof Error && outer.cause.cause, inner);
});

test('an error without a message is passed over for its cause', () => {
  assert.deepEqual(errorChain(new Error('outer', { cause: new Error('', { cause: 'inner' }) })), [
    'outer',
    '"inner"',
  ]);
});

test('a long message that has the reason of its cause is alone, although it is cut', () => {
  const inner = new Error('x'.repeat(100_000));
  const chain = errorChain(new Error(`disk _disk0: ${inner.message}`, { cause: inner }));
  assert.equal(chain.length, 1);
  assert.ok(chain[0] !== undefined && chain[0].length < 100_000);
});
