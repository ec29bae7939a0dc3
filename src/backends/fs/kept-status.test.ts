import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, integer, property, record, type Arbitrary } from 'fast-check';
import { decodeKept, encodeKept, KEPT_BYTES, type KeptStatus } from './kept-status.ts';

const id = integer({ min: 0, max: 2 ** 32 - 2 });
const status: Arbitrary<KeptStatus> = record(
  {
    uid: id,
    gid: id,
    mode: integer({ min: 0, max: 0xffff }),
    device: integer({ min: 0, max: 2 ** 32 - 1 }),
  },
  { requiredKeys: ['uid'] },
);

test('a status is the same after encoding and decoding; its text is short', () => {
  check(
    property(status, (kept) => {
      const text = encodeKept(kept) ?? '';
      assert.ok(text.length < KEPT_BYTES);
      assert.deepEqual(decodeKept(text), { ...kept });
    }),
  );
});

test('texts have the documented form', () => {
  assert.equal(encodeKept({ uid: 0, gid: 42 }), '0:42:');
  assert.equal(encodeKept({ mode: 0o104_755 }), '::0104755');
  assert.equal(encodeKept({ uid: 0, gid: 6, mode: 0o060_660, device: 0x801 }), '0:6:060660:8:1');
  assert.equal(encodeKept({}), undefined);
});

test('a text of another form is no status', () => {
  for (const text of [
    '',
    ':',
    '0:0',
    '0:0:9',
    '-1:0:0644',
    '4294967295:0:',
    '0:4294967295:',
    '0:0:0200000',
    '0:0:0644:1',
    ' 0:0:',
    '0:0:\n',
  ])
    assert.equal(decodeKept(text), undefined, JSON.stringify(text));
});
