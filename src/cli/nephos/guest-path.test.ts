import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../flags.ts';
import { copyTarget, readCopyPath } from './guest-path.ts';

test('a path of a VM has its name before the first colon', () => {
  assert.deepEqual(readCopyPath('web:/etc/a:b'), { kind: 'guest', vm: 'web', path: '/etc/a:b' });
  assert.deepEqual(readCopyPath('web:relative'), { kind: 'guest', vm: 'web', path: 'relative' });
  for (const path of ['/a:b', './a:b', '../a:b', 'file'])
    assert.deepEqual(readCopyPath(path), { kind: 'host', path });
  assert.deepEqual(readCopyPath('-'), { kind: 'stream' });
  assert.throws(() => readCopyPath('web:'), UsageError);
});

for (const [source, destination, isDirectory, target] of [
  ['a/b', '/tmp', true, '/tmp/b'],
  ['a/b/', '/tmp/', true, '/tmp/b'],
  ['a/b', '/tmp/c', false, '/tmp/c'],
  ['a/.', '/tmp', true, '/tmp'],
  ['.', '/tmp', true, '/tmp'],
  ['/', '/tmp', true, '/tmp'],
  ['b', '/', true, '/b'],
] as const) {
  test(`a copy of ${source} to ${destination}${isDirectory ? ', a directory,' : ''} is ${target}`, () =>
    assert.equal(copyTarget(source, destination, isDirectory), target));
}
