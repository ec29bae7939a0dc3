// Every command of the documents: a document's blocks run in order, in one shell.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeDocumentRegistry, type DocumentRegistry } from './support/document-registry.ts';
import { runBlocks } from './support/document-shell.ts';
import { documents, shellBlocks, tableRows } from './support/markdown.ts';
import { makeFolder } from './support/vmm.ts';

/** Commands with images of registries. */
const NEEDS_REGISTRY = /^\s*nephos (?:run|pull)/m;

let registry: Promise<DocumentRegistry> | undefined;

for (const file of documents()) {
  const blocks = shellBlocks(file).filter(({ notRun }) => notRun === undefined);
  if (blocks.length === 0) continue;
  test(`the commands of ${file} work`, async () => {
    const isImageUser = blocks.some(({ code }) => NEEDS_REGISTRY.test(code));
    if (isImageUser) registry ??= makeDocumentRegistry(makeFolder());
    const { code, output } = await runBlocks(blocks, { registry: isImageUser ? await registry : undefined });
    assert.equal(code, 0, output);
  });
}

test('a failing command fails the document, and its processes end', async () => {
  const block = (code: string) => ({ file: 'x', line: 1, code, notRun: undefined });
  const { code, output } = await runBlocks([block('sleep 1000 &\nfalse'), block('echo not reached')]);
  assert.equal(code, 1);
  assert.equal(output, '# x:1\n');
});

test('commands of docs/troubleshooting.md print the messages that it shows', async () => {
  const rows = tableRows('docs/troubleshooting.md', 'typed');
  assert.ok(rows.length > 0);
  for (const [typed = '', answer = ''] of rows) {
    const code = typed.replaceAll('`', '');
    const { output, ...ended } = await runBlocks([
      { file: 'docs/troubleshooting.md', line: 0, code, notRun: undefined },
    ]);
    assert.notEqual(ended.code, 0, code);
    for (const piece of answer.replaceAll('`', '').split('...'))
      assert.ok(output.includes(piece), `${code}:\n${output}`);
  }
});
