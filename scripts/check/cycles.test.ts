import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findCycles, folderImports, renderCycle, type Cycle } from './cycles.ts';
import { importsOf } from './imports.ts';

function importsIn(files: Readonly<Record<string, string>>): ReturnType<typeof importsOf> {
  return Object.entries(files).flatMap(([path, text]) => importsOf({ path, text }));
}

function cyclesIn(files: Readonly<Record<string, string>>): Cycle[] {
  return findCycles(importsIn(files));
}

test('modules that load each other are a runtime cycle', () => {
  const cycles = cyclesIn({
    'src/a.ts': "import { b } from './b.ts';",
    'src/b.ts': "export { c } from './deep/c.ts';",
    'src/deep/c.ts': "import '../a.ts';",
    'src/main.ts': "import { a } from './a.ts';",
  });
  assert.deepEqual(cycles.map(renderCycle), [
    'runtime cycle: src/a.ts -> src/b.ts -> src/deep/c.ts -> src/a.ts',
  ]);
});

test('modules that load each other on demand are a runtime cycle', () => {
  const cycles = cyclesIn({ 'a.ts': "await import('./b.ts');", 'b.ts': "import './a.ts';" });
  assert.deepEqual(cycles.map(renderCycle), ['runtime cycle: a.ts -> b.ts -> a.ts']);
});

test('a module that loads itself is a runtime cycle', () => {
  assert.deepEqual(cyclesIn({ 'a.ts': "import './a.ts';" }).map(renderCycle), [
    'runtime cycle: a.ts -> a.ts',
  ]);
});

for (const [name, text] of [
  ['import type { A }', "import type { A } from './a.ts';"],
  ['import type *', "import type * as all from './a.ts';"],
  ['export type { A } from', "export type { A } from './a.ts';"],
  ['export type * from', "export type * from './a.ts';"],
  ['a type import()', "export type B = import('./a.ts').A;"],
  ['typeof import()', "export type B = typeof import('./a.ts');"],
] as const)
  test(`a circle closed by ${name} is a type cycle`, () => {
    const cycles = cyclesIn({ 'a.ts': "import { b } from './b.ts';", 'b.ts': text });
    assert.deepEqual(cycles.map(renderCycle), ['type cycle: a.ts -> b.ts -> a.ts']);
  });

for (const text of [
  "import { type A } from './a.ts';",
  "import type, { a } from './a.ts';",
  "import type from './a.ts';",
  "export * from './a.ts';",
  "export { type A } from './a.ts';",
])
  test(`${text} loads the module`, () => {
    const [cycle] = cyclesIn({ 'a.ts': "import { b } from './b.ts';", 'b.ts': text });
    assert.equal(cycle?.kind, 'runtime');
  });

test('a circle of five files, closed by the path of a compiled file, is a cycle', () => {
  const cycles = cyclesIn({
    'a.ts': "import { b } from './b.js';",
    'b.ts': "export { c } from './index.js';",
    'index.ts': "export * from './deep/d.ts';",
    'deep/d.ts': "import { e } from '../e.ts';",
    'e.ts': 'export const a = await import(`./a.ts`);',
  });
  assert.deepEqual(cycles.map(renderCycle), [
    'runtime cycle: a.ts -> b.ts -> index.ts -> deep/d.ts -> e.ts -> a.ts',
  ]);
});

test('a cycle in comments or strings is none', () => {
  const text = "// import('./a.ts')\nconst b = \"import('./a.ts') require('./a.ts')\";";
  const files = { 'a.ts': "import './b.ts';", 'b.ts': text };
  assert.deepEqual(cyclesIn(files), []);
});

test('each set of files that import each other is reported once, by a shortest circle', () => {
  const cycles = cyclesIn({
    'a.ts': "import './b.ts';",
    'b.ts': "import './c.ts'; import './a.ts';",
    'c.ts': "import './a.ts';",
    'd.ts': "import './e.ts'; import './a.ts';",
    'e.ts': "import type { D } from './d.ts';",
  });
  assert.deepEqual(cycles.map(renderCycle), [
    'runtime cycle: a.ts -> b.ts -> a.ts\n  with c.ts',
    'type cycle: d.ts -> e.ts -> d.ts',
  ]);
});

test('a type cycle that contains a runtime cycle is reported beside it', () => {
  const cycles = cyclesIn({
    'a.ts': "import './b.ts';",
    'b.ts': "import './a.ts'; import './c.ts';",
    'c.ts': "import type { A } from './a.ts';",
  });
  assert.deepEqual(
    cycles.map(({ kind, members }) => `${kind} ${members.length}`),
    ['runtime 2', 'type 3'],
  );
});

test('folders that import each other are found by the imports of their files', () => {
  const imports = importsIn({
    'x/a.ts': "import '../y/b.ts';",
    'x/c.ts': "import './a.ts';",
    'y/b.ts': '',
    'y/d.ts': "import '../x/c.ts';",
  });
  assert.deepEqual(findCycles(imports), []);
  const folders = findCycles(folderImports(imports, (path) => path.slice(0, 1)));
  assert.deepEqual(folders.map(renderCycle), ['runtime cycle: x -> y -> x']);
});
