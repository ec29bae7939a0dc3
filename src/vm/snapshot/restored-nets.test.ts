import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RestoreConfig } from '../../api/requests.ts';
import { withNetDescriptors } from './restored-nets.ts';

function fdsOf(nets: RestoreConfig['net_fds'], received: readonly number[]) {
  const request: RestoreConfig = {
    source_url: 'file:///s',
    prefault: false,
    resume: false,
    net_fds: nets,
    overrides: undefined,
  };
  return withNetDescriptors(request, received).overrides?.net?.map(({ id, fds }) => [id, fds]);
}

test('received file descriptors are given to the networks in their order', () => {
  const nets = [
    { id: 'a', num_fds: 1, fds: undefined },
    { id: 'b', num_fds: 2, fds: undefined },
  ];
  assert.deepEqual(fdsOf(nets, [7, 8, 9]), [
    ['a', [7]],
    ['b', [8, 9]],
  ]);
});

test('without received ones, a network has the file descriptors that it names', () => {
  assert.deepEqual(fdsOf([{ id: 'a', num_fds: 1, fds: [5] }], []), [['a', [5]]]);
  assert.equal(fdsOf(undefined, []), undefined);
});

test('numbers that differ, and a network that is named twice, are refused', () => {
  const one = { id: 'a', num_fds: 1, fds: undefined };
  for (const [nets, received] of [
    [[one], [7, 8]],
    [[one], []],
    [undefined, [7]],
    [
      [one, one],
      [7, 8],
    ],
  ] as const) {
    assert.throws(() => fdsOf(nets === undefined ? undefined : [...nets], received), {
      code: 'invalid-config',
    });
  }
});
