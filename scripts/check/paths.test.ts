import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingPaths, outsideReferences } from './paths.ts';

const FILES = [
  'README.md',
  'docs/api.md',
  'docs/guide.md',
  'src/main.ts',
  'src/vm/launch/machine.ts',
  'src/devices/rng/config.ts',
  'tests/support/wait.ts',
].map((path) => ({ path, text: '' }));

function missing(text: string): string[] {
  const path = 'docs/guide.md';
  return missingPaths(path, [...FILES.filter((file) => file.path !== path), { path, text }]);
}

test('a path that a document names must exist', () => {
  assert.deepEqual(missing('`src/vm/launch/engine.ts`, `src/machine/`\n'), [
    'docs/guide.md:1: src/vm/launch/engine.ts does not exist',
    'docs/guide.md:1: src/machine does not exist',
  ]);
  assert.deepEqual(missing('\n    src/machine/     pure\n'), ['docs/guide.md:2: src/machine does not exist']);
  assert.deepEqual(missing('[a](other.md)'), ['docs/guide.md:1: other.md does not exist']);
  assert.deepEqual(missing('`machine.rs`, `launching/`, `plan.ts`'), [
    'docs/guide.md:1: launching does not exist',
    'docs/guide.md:1: plan.ts does not exist',
  ]);
});

test('paths of the root, of src/ and of the document, patterns and other texts are accepted', () => {
  for (const text of [
    '`src/vm/launch/machine.ts`, `vm/launch/machine.ts`, `vm/launch/`, `launch/`, `config.ts`',
    '[the API](api.md#states), [start](../README.md)',
    '`src/devices/<kind>/config.ts`, `tests/**`, `*.test.ts`, `build/check/`',
    '`/proc/self/fd`, `~/.cache/nephos`, `node:fs/promises`, `vm.add-disk`, `npm run check`, `@types/node`',
    'plain text: src/machine/',
  ])
    assert.deepEqual(missing(text), [], text);
});

test('a document outside of the repository is found in any spelling', () => {
  const found = (text: string): string[] => outsideReferences(FILES)({ path: 'src/vm/a.ts', text });
  const folder = 'reference';
  const shared = ['..', 'shared'].join('/');
  for (const name of [`${folder}/api.md`, `./${folder}/cli-flags.md`, 'Reference/API.md', 'design.md'])
    assert.deepEqual(
      found(`\n// as ${name} says`),
      [`src/vm/a.ts:2: ${name} is not in the repository`],
      name,
    );
  assert.deepEqual(found(`// ${shared}/terms`), [`src/vm/a.ts:1: ${shared} is not in the repository`]);
  assert.deepEqual(found('// docs/api.md, api.md, README.md, https://example.org/a.md'), []);
});
