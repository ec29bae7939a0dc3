import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readIntegers } from './integer-list.ts';

test('numbers and ranges are listed one by one', () => {
  assert.deepEqual(readIntegers('3'), [3]);
  assert.deepEqual(readIntegers('3:7'), [3, 7]);
  assert.deepEqual(readIntegers('0-2:9'), [0, 1, 2, 9]);
  assert.deepEqual(readIntegers('5:10-11'), [5, 10, 11]);
  assert.deepEqual(readIntegers('[5,10-11]'), [5, 10, 11]);
});

test('items other than numbers and ascending ranges are refused', () => {
  for (const text of [
    '',
    '3-3',
    '5-3',
    '1-2-3',
    '1:',
    ':1',
    '1,',
    '[1',
    '1]',
    'a',
    '-1',
    '1-',
    '0-99999999999',
  ]) {
    assert.throws(() => readIntegers(text), text);
  }
});
