import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { landlockRules } from './index.ts';

test('a Landlock rule has a path and known access rights', () => {
  expectProblems(landlockRules, [
    ['each right', ['r', 'w', 'rw', 'wr'].map((access) => ({ path: '/l', access })), []],
    ['no path', { path: '', access: 'r' }, ['landlock_rules[0].path: must not be empty']],
    ['another', { path: '/l', access: 'x' }, ['landlock_rules[0].access: must be r, w or rw, got "x"']],
  ]);
});
