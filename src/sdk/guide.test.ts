import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

/** Returns the programs in TypeScript that a document shows. */
function programsIn(path: string): (string | undefined)[] {
  return Array.from(readFileSync(path, 'utf8').matchAll(/^```ts\n(.*?)^```$/gms), ([, code]) => code);
}

test('the guide shows the example that tests/sdk.test.ts runs', () => {
  const shown = programsIn('docs/clients.md');
  const example = readFileSync('examples/clones.ts', 'utf8');
  assert.deepEqual(shown, [example]);
  assert.ok(example.trimEnd().split('\n').length <= 30, 'the example is longer than 30 lines');
});

test('the document on shared directories shows the example that tests/fs-provider.test.ts runs', () => {
  const [shown] = programsIn('docs/shared-directories.md');
  assert.equal(shown, readFileSync('examples/shared-files.ts', 'utf8'));
});
