import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { vsock } from './index.ts';

test('the address of a guest has 32 bits, and is not the last one', () => {
  expectProblems(vsock, [
    ['the largest address', { cid: 2 ** 32 - 2, socket: '/s' }, []],
    ['any', { cid: 2 ** 32 - 1, socket: '/s' }, ['vsock.cid: larger than 4294967294']],
    ['more than 32 bits', { cid: 2 ** 32, socket: '/s' }, ['vsock.cid: larger than 4294967294']],
  ]);
});
