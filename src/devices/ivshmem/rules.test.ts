import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { ivshmem } from './index.ts';

test('shared memory has a file and a power of two of pages', () => {
  const sizeProblem = (size: number) => `ivshmem.size: must be a power of two from 4096 on, got ${size}`;
  expectProblems(ivshmem, [
    ['a page', { path: '/m', size: 4096 }, []],
    ['no path', { path: '', size: 4096 }, ['ivshmem.path: must not be empty']],
    ['half a page', { path: '/m', size: 2048 }, [sizeProblem(2048)]],
    ['three pages', { path: '/m', size: 12_288 }, [sizeProblem(12_288)]],
  ]);
});
