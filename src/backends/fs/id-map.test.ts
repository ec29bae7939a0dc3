import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, integer, property } from 'fast-check';
import { createIdMap, OVERFLOW_ID } from './id-map.ts';

/** (uid_t) -2, the largest id */
const LARGEST = 2 ** 32 - 2;
const id = integer({ min: 0, max: LARGEST });

test('without a range, all ids are the same on both sides', () => {
  const map = createIdMap();
  for (const one of [0, 1000, OVERFLOW_ID, LARGEST]) {
    assert.equal(map.toHost(one), one);
    assert.equal(map.toGuest(one), one);
  }
});

test('ids of a range are moved, at both of its ends', () => {
  const map = createIdMap({ guest: 5, host: 100_000, count: 10 });
  assert.deepEqual([4, 5, 14, 15].map(map.toHost), [undefined, 100_000, 100_009, undefined]);
  assert.deepEqual([99_999, 100_000, 100_009, 100_010].map(map.toGuest), [OVERFLOW_ID, 5, 14, OVERFLOW_ID]);
});

test('root of the host is not root of the guest if the range leaves it out', () => {
  const map = createIdMap({ guest: 0, host: 100_000, count: 65_536 });
  assert.equal(map.toGuest(0), OVERFLOW_ID);
  assert.equal(map.toHost(100_000), undefined);
});

test('an id of the guest is the same after both conversions', () => {
  check(
    property(id, id, integer({ min: 1, max: LARGEST }), id, (guest, host, length, one) => {
      const count = Math.min(length, LARGEST + 1 - guest, LARGEST + 1 - host);
      const map = createIdMap({ guest, host, count });
      const onHost = map.toHost(one);
      const isInside = one >= guest && one < guest + count;
      assert.equal(onHost !== undefined, isInside);
      if (onHost === undefined) return;
      assert.ok(onHost >= host && onHost < host + count);
      assert.equal(map.toGuest(onHost), one);
    }),
  );
});
