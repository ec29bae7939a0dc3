import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { balloon } from './index.ts';

test('a balloon leaves RAM to the guest', () => {
  const ram = 2 ** 30;
  expectProblems(
    balloon,
    [
      ['smaller than the RAM', { size: ram - 4096 }, []],
      ['all of the RAM', { size: ram }, [`balloon.size: must be less than the RAM (${ram}), got ${ram}`]],
    ],
    { ram },
  );
});

test('a balloon of a VM without RAM has no problem of its own', () => {
  expectProblems(balloon, [['no RAM', { size: 4096 }, []]], { ram: 0 });
});
