import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stepsOf } from '../common/test-kit.ts';
import { pmem } from './index.ts';

const backingOf = (json: object, isFolder: boolean) => {
  const [step] = stepsOf(pmem, json, { facts: { size: 2 ** 21, isFolder } });
  assert.ok(step?.kind === 'object');
  const { share, readonly, size, 'mem-path': path } = step.props;
  return { path, size, share, readonly };
};

test('pmem is a shared mapping of its file', () => {
  const backing = { path: '/a, b', size: 2 ** 21, share: true, readonly: undefined };
  assert.deepEqual(backingOf({ file: '/a, b' }, false), backing);
});

test('pmem that discards writes is a private mapping, and its file is opened for reading only', () => {
  const backing = { path: '/a', size: 2 ** 21, share: false, readonly: true };
  assert.deepEqual(backingOf({ file: '/a', discard_writes: true }, false), backing);
});

test('pmem in a folder always discards its writes with the temporary file', () => {
  const backing = { path: '/a', size: 2 ** 21, share: true, readonly: undefined };
  assert.deepEqual(backingOf({ file: '/a', discard_writes: true }, true), backing);
});
