import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMessageReader, type Message } from './server-sent-events.ts';

const STREAM =
  'retry: 1000\nid: 3-a\n\n:\n\nid: 4-a\nevent: booted\ndata: {"event":"booted"}\n\nevent: gap\ndata: a\ndata:b\n\n';

const MESSAGES: Message[] = [
  { id: '4-a', event: 'booted', data: '{"event":"booted"}' },
  { id: '4-a', event: 'gap', data: 'a\nb' },
];

test('messages are read from a stream that is cut at any place', () => {
  for (let at = 0; at <= STREAM.length; at++) {
    const read = createMessageReader();
    assert.deepEqual([...read(STREAM.slice(0, at)), ...read(STREAM.slice(at))], MESSAGES, String(at));
  }
});

test('a message that is not complete is not returned', () => {
  const read = createMessageReader();
  assert.deepEqual(read('data: a\n'), []);
  assert.deepEqual(read('\n'), [{ id: '', event: '', data: 'a' }]);
});
