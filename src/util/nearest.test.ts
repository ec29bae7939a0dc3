import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, expected, nearest } from './nearest.ts';

const FLAGS = ['cpus', 'memory', 'kernel', 'disk', 'fs', 'numa', 'queue_affinity'];

test('a mistyped word finds the nearest candidate', () => {
  const typed: readonly (readonly [string, string | undefined])[] = [
    ['cpu', 'cpus'],
    ['CPUS', 'cpus'],
    [' disk', 'disk'],
    ['memroy', 'memory'],
    ['kernal', 'kernel'],
    ['queue-afinity', 'queue_affinity'],
    ['num', 'numa'],
    ['path', undefined],
    ['2', undefined],
    ['', undefined],
    ['a.raw', undefined],
  ];
  for (const [word, meant] of typed) assert.equal(nearest(word, FLAGS), meant, word);
});

test('a word of a megabyte is no candidate, and is refused at once', () => {
  const long = 'x'.repeat(2 ** 20);
  // the time of the processor: others may have it meanwhile
  const before = process.cpuUsage();
  assert.equal(nearest(long, FLAGS), undefined);
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 50_000, `${user + system} us`);
});

test('the question is left out where nothing is near', () => {
  assert.equal(didYouMean('--cpus'), 'did you mean --cpus?');
  assert.equal(didYouMean(undefined), undefined);
  assert.equal(expected('on or off', 'on'), 'expected on or off; did you mean on?');
  assert.equal(expected('on or off', undefined), 'expected on or off');
});
