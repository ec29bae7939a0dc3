import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { pmem } from './index.ts';

test('the size of a pmem device is a multiple of 2 MiB above 0', () => {
  const MIB = 2 ** 20;
  const problem = (i: number, size: number) =>
    `pmem[${i}].size: must be a multiple of 2 MiB above 0, got ${size}`;
  const sizes = [undefined, MIB, 2 * MIB, 0].map((size) => ({ file: '/p', size }));
  expectProblems(pmem, [['sizes', sizes, [problem(1, MIB), problem(3, 0)]]]);
});
