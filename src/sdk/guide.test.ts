import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('the guide shows the example that tests/sdk.test.ts runs', () => {
  const blocks = [...readFileSync('docs/clients.md', 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)];
  const shown = blocks.map(([, code]) => code);
  const example = readFileSync('examples/clones.ts', 'utf8');
  assert.deepEqual(shown, [example]);
  assert.ok(example.trimEnd().split('\n').length <= 30, 'the example is longer than 30 lines');
});
