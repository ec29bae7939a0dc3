import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseJson } from './parse-json.ts';

async function faultOf(body: string | Buffer): Promise<string | undefined> {
  try {
    await parseJson(Buffer.from(body));
    return undefined;
  } catch (error) {
    assert.ok(error instanceof Error);
    return error.message.replace('Request body is not JSON at ', '');
  }
}

for (const [body, fault] of [
  ['', 'line 1 column 1: expected a value, found the end'],
  [' ', 'line 1 column 2: expected a value, found the end'],
  ['nul', 'line 1 column 1: expected a value, found "n"'],
  ['1 2', 'line 1 column 3: expected the end, found "2"'],
  ['01', 'line 1 column 2: expected the end, found "1"'],
  ['{a: 1}', 'line 1 column 2: expected a field name, found "a"'],
  ['{"a" 1}', 'line 1 column 6: expected ":", found "1"'],
  ['{"a":1,}', 'line 1 column 8: expected a field name, found "}"'],
  ['{\n  "a": 1\n  "b": 2\n}', 'line 3 column 3: expected "," or "}", found "\\""'],
  ['[1,]', 'line 1 column 4: expected a value, found "]"'],
  ['["é" 🙂]', 'line 1 column 6: expected "," or "]", found "🙂"'],
  ['"ab', 'line 1 column 4: expected the end of the string, found the end'],
  ['"a\tb"', 'line 1 column 3: a control character inside a string'],
  ['"\\x"', 'line 1 column 2: an unknown escape inside a string'],
  ['{"id":1,"x":{"id":2},"\\u0069d":3}', 'line 1 column 22: field "id" is there twice'],
  ['\ufeff{}', 'line 1 column 1: expected a value, found "\ufeff"'],
] as const) {
  test(`a fault and its place: ${JSON.stringify(body)}`, async () => {
    assert.equal(await faultOf(body), fault);
  });
}

test('the first byte that is not UTF-8 is named', async () => {
  const good = Buffer.from('["é€🙂", "');
  for (const bad of [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x22]]) {
    const message = await faultOf(Buffer.concat([good, Buffer.from(bad), Buffer.from('"]')]));
    const offset = Number(/^Request body is not UTF-8 at byte (\d+)$/.exec(message ?? '')?.[1]);
    assert.ok(offset >= good.length && offset < good.length + bad.length, message);
  }
});

test('depth is bounded', async () => {
  assert.equal(await faultOf('['.repeat(128) + ']'.repeat(128)), undefined);
  assert.match((await faultOf('['.repeat(500_000))) ?? '', /^line 1 column 129: nested more than 128 deep$/);
});

test('accepts the same texts as JSON.parse, for each changed character', async () => {
  const sample = '{"a":[1,-2.5e+3,true,null,"x\\n\\u00e9"],"b":{},"c":[] , "d":{"e":0}}';
  const others = ['', '"', '{', '}', '[', ']', ',', ':', '\\', '0', '-', '.', 'e', ' ', '\n', '\u0001', 't'];
  for (let at = 0; at <= sample.length; at += 1) {
    for (const other of others) {
      for (const cut of [0, 1]) {
        const body = sample.slice(0, at) + other + sample.slice(at + cut);
        const fault = await faultOf(body);
        if (fault?.includes('twice') !== true) assert.equal(fault === undefined, isJson(body), body);
      }
    }
  }
});

test('strings of thousands of characters and escapes have their values', async () => {
  for (const part of ['ab\n', '\u0001', 'é"', '漢\\', '🙂/', '\ud800', 'ü']) {
    const value = part.repeat(5000);
    for (const body of [JSON.stringify([value]), JSON.stringify({ [value]: value })]) {
      assert.deepEqual(await parseJson(Buffer.from(body)), JSON.parse(body));
      assert.match((await faultOf(body.slice(0, -3))) ?? '', /^line 1 column \d+: /);
    }
  }
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
