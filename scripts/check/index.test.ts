import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, test } from 'node:test';

const root = mkdtempSync(join(tmpdir(), 'nephos-check-'));
after(() => rmSync(root, { recursive: true, force: true }));

function plant(path: string, text: string): void {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Runs a check in the folder of the planted files. */
function check(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [resolve('build/scripts/check/index.js'), ...args],
    { cwd: root, encoding: 'utf8' },
  );
  return { status, output: stdout + stderr };
}

test('a check fails where it finds something, and counts it', () => {
  plant('scripts/check/dictionary.txt', 'virtio\n');
  plant('src/util/a.ts', "// The engine.\nimport '../vm/b.ts';\n");
  plant('src/vm/b.ts', "import type { A } from '../util/a.ts';\n");
  plant('node_modules/c/c.ts', '// The engine.\n');
  const words = check('words');
  assert.equal(words.status, 1, words.output);
  assert.match(words.output, /^src\/util\/a\.ts:1:8: "engine": write QEMU$/m);
  assert.match(words.output, /^check:words: failed: 1 findings in 3 files: src\/util 1 /m);
  const cycles = check('cycles');
  assert.equal(cycles.status, 1, cycles.output);
  assert.match(cycles.output, /^check:cycles: failed: 1 type cycles, 0 runtime cycles in 2 files /m);
  const layers = check('layers');
  assert.equal(layers.status, 1, layers.output);
  assert.match(layers.output, /^src\/util\/a\.ts:2: must not import \.\.\/vm\/b\.ts/m);
});

test('a check looks at the folders that are named, and succeeds where it finds nothing', () => {
  plant('docs/a.md', 'QEMU starts.\n');
  const { status, output } = check('words', 'docs/');
  assert.equal(status, 0, output);
  assert.match(output, /^check:words: passed: 0 findings in 1 files /m);
});

test('an unknown check is an error', () => {
  assert.equal(check('nothing').status, 2);
});
