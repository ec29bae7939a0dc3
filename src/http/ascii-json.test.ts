import assert from 'node:assert/strict';
import { test } from 'node:test';

import { asciiJson } from './ascii-json.ts';

for (const [value, text] of [
  ['', '""'],
  [{ a: [1, 'b\n"'] }, '{"a":[1,"b\\n\\""]}'],
  ['aé\u007f\u0080', '"a\\u00e9\u007f\\u0080"'],
  [{ 漢: '🙂b' }, '{"\\u6f22":"\\ud83d\\ude42b"}'],
  ['\ud800\uffff', '"\\ud800\\uffff"'],
] as const) {
  test(`JSON in ASCII: ${JSON.stringify(value)}`, () => {
    assert.equal(asciiJson(value), text);
    assert.deepEqual(JSON.parse(text), value);
  });
}
