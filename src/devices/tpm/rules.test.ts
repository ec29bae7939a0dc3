import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { tpm } from './index.ts';

test('the emulator of the TPM has a socket', () => {
  expectProblems(tpm, [
    ['a path', { socket: '/t' }, []],
    ['an empty path', { socket: '' }, ['tpm.socket: must not be empty']],
  ]);
});
