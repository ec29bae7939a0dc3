import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('the guide shows the example that tests/sdk.test.ts runs', () => {
  const blocks = [...readFileSync('docs/clients.md', 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)];
  const shown = blocks.map(([, code]) => code);
  assert.deepEqual(shown, [readFileSync('examples/clones.ts', 'utf8')]);
});
