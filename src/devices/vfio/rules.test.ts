import { test } from 'node:test';
import { expectProblems } from '../common/test-kit.ts';
import { vfio } from './index.ts';

test('a device of the host is passed through once', () => {
  const devices = ['/a', '/b', '/a'].map((path) => ({ path }));
  expectProblems(vfio, [['twice', devices, ['devices[2].path: /a is passed through as devices[0] already']]]);
});

test('a group of NVIDIA devices has four bits', () => {
  const inGroup = (x_nv_gpudirect_clique: number) => ({ path: '/a', x_nv_gpudirect_clique });
  expectProblems(vfio, [
    ['15', inGroup(15), []],
    ['16', inGroup(16), ['devices[0].x_nv_gpudirect_clique: larger than 15']],
  ]);
});
