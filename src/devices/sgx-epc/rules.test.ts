import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { sgxEpc } from './index.ts';

test('SGX sections are pages, and each has its own id', () => {
  const sections = [{ id: 'a' }, { id: 'b', size: 4097 }, { id: 'c', size: 4096 }, { id: 'c', size: 4096 }];
  expectProblems(sgxEpc, [
    [
      'sections',
      sections,
      [
        'sgx_epc[0].size: must be a multiple of 4096 above 0, got 0',
        'sgx_epc[1].size: must be a multiple of 4096 above 0, got 4097',
        'sgx_epc[3].id: "c" is taken by sgx_epc[2]',
      ],
    ],
  ]);
});
