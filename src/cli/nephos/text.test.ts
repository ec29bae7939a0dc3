import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration } from './duration.ts';
import { columns, showAge, showSize } from './text.ts';

test('columns are as wide as their widest cell', () => {
  assert.equal(
    columns([
      ['NAME', 'STATE'],
      ['a', 'running'],
      ['longer', ''],
    ]),
    'NAME    STATE\na       running\nlonger\n',
  );
});

test('control characters of a name do not reach the terminal', () => {
  assert.equal(columns([['A'], ['\u{1b}[31mx\r\n']]), 'A\n?[31mx??\n');
});

test('sizes have the largest unit with a whole', () => {
  assert.deepEqual([0, 1023, 1024, 1536, 2 ** 29, 150.4 * 2 ** 30].map(showSize), [
    '0 B',
    '1023 B',
    '1 KiB',
    '1.5 KiB',
    '512 MiB',
    '150 GiB',
  ]);
});

test('durations have one unit', () => {
  assert.deepEqual(
    [0, 1000, 59_999, 60_000, 119_999, 7_199_999, 7_200_000, 172_800_000, 9e8, 3e9].map(formatDuration),
    [
      '0 seconds',
      '1 second',
      '59 seconds',
      '1 minute',
      '1 minute',
      '119 minutes',
      '2 hours',
      '2 days',
      '10 days',
      '4 weeks',
    ],
  );
  assert.equal(showAge('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:00:05Z')), '5 seconds');
  assert.equal(showAge('2026-01-01T00:00:05Z', Date.parse('2026-01-01T00:00:00Z')), '0 seconds');
});
