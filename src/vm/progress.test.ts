import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shownAmount } from './progress.ts';

test('progress has percent and MiB', () => {
  assert.equal(shownAmount({ done: 0, total: 0 }), '0 % (0 of 0 MiB)');
  assert.equal(shownAmount({ done: 2 ** 20, total: 3 * 2 ** 20 }), '33 % (1 of 3 MiB)');
});
