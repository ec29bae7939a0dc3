import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intersect, sizeOf, subtract, unite } from './extent-sets.ts';
import type { Extent } from './extents.ts';

/** Each `#` is a byte of the set. */
function set(picture: string): Extent[] {
  return [...picture.matchAll(/#+/g)].map(({ index, 0: run }) => ({ offset: index, length: run.length }));
}

test('the bytes in two sets', () => {
  assert.deepEqual(intersect(set('###..##.#'), set('.####.###')), set('.##...#.#'));
  assert.deepEqual(intersect(set('########'), set('#.#..##.')), set('#.#..##.'));
  assert.deepEqual(intersect(set('##'), set('..##')), []);
  assert.deepEqual(intersect([], set('#')), []);
});

test('the bytes of a set without those of another one', () => {
  assert.deepEqual(subtract(set('########'), set('.##..#.#')), set('#..##.#.'));
  assert.deepEqual(subtract(set('##.##.##'), set('.######.')), set('#......#'));
  assert.deepEqual(subtract(set('.##.'), set('####')), []);
  assert.deepEqual(subtract(set('#.#'), []), set('#.#'));
  assert.deepEqual(subtract([], set('#')), []);
});

test('the bytes in one of two sets', () => {
  assert.deepEqual(unite(set('##...#'), set('..##.#')), set('####.#'));
  assert.deepEqual(unite(set('#.#.#.'), set('######')), set('######'));
  assert.deepEqual(unite([], set('.#')), set('.#'));
});

test('sets of random bytes agree with a set of numbers', () => {
  let seed = 20_261_127;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const picture = (): string => Array.from({ length: 60 }, () => (random() < 0.5 ? '#' : '.')).join('');
  const combine = (a: string, b: string, holds: (inA: boolean, inB: boolean) => boolean): Extent[] =>
    set(Array.from(a, (byte, i) => (holds(byte === '#', b[i] === '#') ? '#' : '.')).join(''));
  for (let round = 0; round < 200; round++) {
    const [a, b] = [picture(), picture()];
    assert.deepEqual(
      intersect(set(a), set(b)),
      combine(a, b, (inA, inB) => inA && inB),
    );
    assert.deepEqual(
      subtract(set(a), set(b)),
      combine(a, b, (inA, inB) => inA && !inB),
    );
    assert.deepEqual(
      unite(set(a), set(b)),
      combine(a, b, (inA, inB) => inA || inB),
    );
    assert.equal(sizeOf(set(a)), a.replaceAll('.', '').length);
  }
});
