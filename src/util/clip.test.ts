import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clip, ITEMS_SHOWN, joinSome, MESSAGE_MAX, preview, VALUE_MAX } from './clip.ts';

test('a long text keeps its start and states its length, within the limit', () => {
  assert.equal(clip('short'), 'short');
  assert.equal(clip('x'.repeat(MESSAGE_MAX)).length, MESSAGE_MAX);
  const clipped = clip('x'.repeat(2_000_000));
  assert.match(clipped, /^x+\.\.\. \(2000000 characters\)$/);
  assert.equal(clipped.length, MESSAGE_MAX);
});

test('of many items the first are listed, and the number of the others', () => {
  const items = Array.from({ length: ITEMS_SHOWN + 7 }, (_, i) => `item ${i}`);
  assert.equal(joinSome(items.slice(0, 2), '; '), 'item 0; item 1');
  assert.match(joinSome(items, '; '), new RegExp(`^item 0; .*; item ${ITEMS_SHOWN - 1}; and 7 more$`));
  assert.ok(joinSome(['x'.repeat(1e6), 'y'.repeat(1e6)], '; ').length <= MESSAGE_MAX);
});

test('a value is shown as JSON, and a large one as the start of its JSON', () => {
  const values = [null, true, 1.5, 'a "b"', [], {}, [1, [2, 'x']], { a: { b: [null] }, c: 'é' }];
  for (const value of values) assert.equal(preview(value), JSON.stringify(value));
  assert.equal(preview(undefined), 'undefined');
  const large = [
    'x'.repeat(5e6),
    Array.from({ length: 1e6 }, () => 1),
    { a: 'y'.repeat(1e6) },
    [[['z'.repeat(90)]]],
  ];
  for (const value of large) {
    const shown = preview(value);
    assert.equal(shown.length, VALUE_MAX);
    assert.equal(shown, `${JSON.stringify(value).slice(0, VALUE_MAX - 3)}...`);
  }
});
