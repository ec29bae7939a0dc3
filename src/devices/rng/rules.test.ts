import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { rng } from './index.ts';

test('the entropy device has a source', () => {
  expectProblems(rng, [
    ['a path', { src: '/dev/random' }, []],
    ['an empty path', { src: '' }, ['rng.src: must not be empty']],
  ]);
});
