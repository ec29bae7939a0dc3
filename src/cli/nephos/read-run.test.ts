import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLine } from './parse.ts';
import { readRunRequest } from './read-run.ts';
import { VERBS } from './table/verbs.ts';

test('a text that cannot name a VM is rejected before an image is opened', async () => {
  const verb = VERBS.find(({ name }) => name === 'run');
  assert.ok(verb);
  for (const name of ['', 'a b', "a'b", 'a"b', 'ä', '../x', '.', '-x', 'a\nb', 'x'.repeat(64)])
    await assert.rejects(readRunRequest(parseLine(verb, [`--name=${name}`, 'alpine'])), /cannot name a VM/);
  const request = await readRunRequest(parseLine(verb, ['--name', 'x'.repeat(63), 'alpine']));
  assert.equal(request.name, 'x'.repeat(63));
});
