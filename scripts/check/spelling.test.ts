import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { renderFinding } from './findings.ts';
import { findMisspellings, loadDictionary } from './spelling.ts';

const dictionary = loadDictionary(['virtio', 'Xen']);

function misspelled(path: string, text: string): string[] {
  return findMisspellings({ path, text }, dictionary).map(({ word }) => word);
}

test('an unknown word of a comment, a document, a title or a message is found', () => {
  assert.deepEqual(misspelled('src/a.ts', '// Returns the adress of a device.\n'), ['adress']);
  assert.deepEqual(misspelled('src/a.ts', '/** Returns the adress of a device. */'), ['adress']);
  assert.deepEqual(misspelled('docs/a.md', '# An adress\n\nThe Adress of a-devcie.\n'), [
    'adress',
    'Adress',
    'devcie',
  ]);
  assert.deepEqual(misspelled('docs/a.md', '| the | adress |\n'), ['adress']);
  const message = 'has no adress on the bus';
  assert.deepEqual(misspelled('src/a.ts', `throw new Error('${message}');`), ['adress']);
  assert.deepEqual(misspelled('src/a.test.ts', `test('${message}', () => {});`), ['adress']);
  assert.deepEqual(misspelled('scripts/a.sh', '# removes the adress\nrm adress\n'), ['adress']);
});

test('names, paths, options and code are not spelled', () => {
  for (const text of [
    '`adress` and vm.adress, /tmp/adress, --adress, adressOf, ADRESS, adress_of, adress42, <adress>',
    'see [the page](adress.md) and https://adress.example/adress',
    "the guest's devices, the guests’ ones, host-side, 4 KiB",
  ])
    assert.deepEqual(misspelled('src/a.ts', `// ${text}\n`), [], text);
  assert.deepEqual(misspelled('docs/a.md', '```sh\nadress\n```\n\n    adress\n'), []);
  assert.deepEqual(misspelled('src/a.ts', "const adress = 'adress';"), []);
});

test('words of the project and British English are known', () => {
  assert.deepEqual(misspelled('src/a.ts', '// The behaviour of virtio and Virtio devices under Xen.\n'), []);
  assert.deepEqual(misspelled('src/a.ts', '// The behavior under xen.\n'), ['behavior', 'xen']);
});

test('a finding names the position and suggests a word', () => {
  const [finding] = findMisspellings({ path: 'a.md', text: 'One.\nAn adress.\n' }, dictionary);
  assert.ok(finding !== undefined);
  assert.match(renderFinding(finding), /^a\.md:2:4: "adress": write .*"address".*dictionary\.txt$/);
});

test('the dictionary of the project is sorted, with each word once', () => {
  const words = readFileSync('scripts/check/dictionary.txt', 'utf8').trimEnd().split('\n');
  const sorted = [...new Set(words)].toSorted((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
  assert.deepEqual(words, sorted);
});
