import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMessageParser } from './event-messages.ts';

const TEXT = ['retry: 1000', 'id: 1-a', '', ':', '', 'id:2-a', 'event: x', 'data: {"a": 1}', '', ''];
const MESSAGES = [
  { id: '1-a', data: '' },
  { id: '1-a', data: '' },
  { id: '2-a', data: '{"a": 1}' },
];

for (const end of ['\n', '\r\n']) {
  test(`messages in parts of any length, with ${JSON.stringify(end)} at the end of a line`, () => {
    const text = TEXT.join(end);
    for (const length of [1, 2, 7, text.length]) {
      const parse = createMessageParser();
      const found = [];
      for (let i = 0; i < text.length; i += length) found.push(...parse(text.slice(i, i + length)));
      assert.deepEqual(found, MESSAGES, String(length));
    }
  });
}

test('lines of data are joined, and unknown fields ignored', () => {
  const parse = createMessageParser();
  assert.deepEqual(parse('data: a\nother: x\ndata\ndata:  b\n\ndata: rest'), [{ id: '', data: 'a\n\n b' }]);
});
