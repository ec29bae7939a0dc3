import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { rateLimitGroup } from './index.ts';

test('no two rate limit groups have one id', () => {
  const problem = 'rate_limit_groups[2].id: "a" is taken by rate_limit_groups[0]';
  expectProblems(rateLimitGroup, [['one id twice', ['a', 'b', 'a'].map((id) => ({ id })), [problem]]]);
});
