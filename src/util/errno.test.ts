import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { reasonOf } from './errno.ts';
import { pathError } from './path-deadline.ts';

test('the reason of a system error is without its code, call and path', () => {
  const caught = (act: () => unknown): unknown => {
    try {
      return act();
    } catch (error) {
      return error;
    }
  };
  assert.equal(reasonOf(caught(() => readFileSync("/none, it's, open '/x"))), 'no such file or directory');
  assert.equal(reasonOf(caught(() => readFileSync('/'))), 'illegal operation on a directory');
  assert.equal(
    reasonOf(pathError('EINVAL', 'is neither a, b nor c', "/x, open '/y")),
    'is neither a, b nor c',
  );
  assert.equal(reasonOf(new Error('spawn x EMFILE')), 'spawn x EMFILE');
  assert.equal(reasonOf(new Error('EX: nothing more')), 'nothing more');
  assert.equal(reasonOf('text'), 'text');
});
