import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseState } from './state-text.ts';

const STREAM = Buffer.from('the state of the devices');
const BASE64 = STREAM.toString('base64');

function parse(text: string): { members: unknown; stream: string } {
  const { members, deviceState } = parseState(Buffer.from(text));
  return { members, stream: deviceState().toString() };
}

test('the members of a state are parsed, and its stream is decoded', () => {
  for (const end of ['}', '}\n', ' }\n']) {
    const { members, stream } = parse(
      `{"manifest":{},\n"name":"ä","regions":[1],"deviceState":"${BASE64}"${end}`,
    );
    assert.deepEqual(members, { manifest: {}, name: 'ä', regions: [1], deviceState: '' });
    assert.equal(stream, STREAM.toString());
  }
});

test('a state whose stream is at another place is parsed as a whole', () => {
  const same = [
    `{"deviceState":"${BASE64}"}`,
    `{"deviceState":"${BASE64}","regions":[]}`,
    `{"a":1,"deviceState":"${BASE64}","regions":[]}`,
    `{"a":{"b":1,"deviceState":"AAAA"},"deviceState":"${BASE64}"}`,
    `{"a":1,"deviceState":"AAAA","deviceState":"${BASE64}"}`,
    `{"a":",\\"deviceState\\":\\"","b":1,"deviceState" : "${BASE64}"}`,
    `{"a":1,"deviceState":"\\u0064${BASE64.slice(1)}"}`,
  ];
  for (const text of same) {
    const { members, stream } = parse(text);
    assert.deepEqual(members, JSON.parse(text), text);
    assert.equal(stream, STREAM.toString(), text);
  }
});

test('a text is never taken for the member', () => {
  const text = `{"a":",\\"deviceState\\":\\"AAAA\\"}","b":1,"deviceState":"${BASE64}"}`;
  const { members, stream } = parse(text);
  assert.deepEqual(members, { a: ',"deviceState":"AAAA"}', b: 1, deviceState: '' });
  assert.equal(stream, STREAM.toString());
});

test('a state without a stream has an empty one', () => {
  for (const text of ['{}', '[]', 'null', '{"a":1,"deviceState":7}', '{"deviceState":null}']) {
    assert.deepEqual(parse(text), { members: JSON.parse(text), stream: '' });
  }
});

test('text that is no JSON is refused', () => {
  const broken = [
    '',
    '{',
    '{"a":1,"deviceState":"AAAA"',
    '{"a":,"deviceState":"AAAA"}',
    '{"a":1,"deviceState":"A"}}',
  ];
  for (const text of [...broken, `{"a":1}x,"deviceState":"AAAA"}`]) {
    assert.throws(() => parse(text), SyntaxError, text);
  }
});
