// Wrong imports in a folder with the linter's rules of the layers: the linter alone refuses each.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { layerViolation } from './layers.ts';
import { LINT_FILE, lintRules } from './lint-layers.ts';

const FOLDERS =
  'api backends backends/fs-provider backends/fuse cli config devices host http native plan qemu schema sdk snapshot-files util vm vm/devices vm/hotplug vm/launch vm/machine-state vm/migration vm/observe vm/resize vm/snapshot'.split(
    ' ',
  );

/** Forms of an import that the linter knows. */
const FORMS: readonly ((module: string) => string)[] = [
  (module) => `import { one } from '${module}';`,
  (module) => `import type { One } from '${module}';`,
  (module) => `import '${module}';`,
  (module) => `export { one } from '${module}';`,
  (module) => `export type { One } from '${module}';`,
  (module) => `export * from "${module}";`,
  (module) => `await import('${module}');`,
];

interface Probe {
  readonly path: string;
  readonly target: string;
  readonly text: string;
}

/** Returns the paths, below src/, of the files whose import the linter refuses. */
function refused(probes: readonly Probe[]): Set<string> {
  const root = mkdtempSync(join(tmpdir(), 'nephos-lint-'));
  try {
    writeFileSync(join(root, '.oxlintrc.json'), lintRules());
    for (const { path, text } of probes) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), `${text}\n`);
    }
    const options = { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 } as const;
    const { stdout } = spawnSync(resolve('node_modules/.bin/oxlint'), ['--format=unix'], options);
    const found = stdout.matchAll(/^(?:.*\/)?(src\/[^:\n]+):\d+:\d+: .* is restricted /gm);
    return new Set([...found].map(([, path = '']) => path));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Returns the target as the check of the layers reads it. */
function isForbidden({ path, target }: Probe): boolean {
  const to = target.startsWith('.') ? join(dirname(path), target) : undefined;
  const place = { from: path, target, to, line: 1, isExported: false, isComputed: false } as const;
  return layerViolation({ ...place, kind: 'runtime' }) !== undefined;
}

/** Probes in a folder and at greater depth, for each form in turn. */
function probes(targets: (from: string, up: string) => readonly string[]): Probe[] {
  const all: Probe[] = [];
  for (const from of FOLDERS)
    for (const depth of ['', 'nested/', 'one/two/three/']) {
      const up = '../'.repeat(`${from}/${depth}`.split('/').length - 1);
      for (const target of targets(from, up)) {
        const text = FORMS[all.length % FORMS.length]?.(target) ?? '';
        all.push({ path: `src/${from}/${depth}probe-${all.length}.ts`, target, text });
      }
    }
  return all;
}

test('the linter refuses each import that the layers forbid, at any depth, and no other', () => {
  const all = probes((_, up) => FOLDERS.flatMap((to) => [`${up}${to}/one.ts`, `${up}${to}/deep/one.js`]));
  const found = refused(all);
  const wrong = all.filter((probe) => found.has(probe.path) !== isForbidden(probe));
  assert.deepEqual(
    wrong.map(({ path, text }) => `${path}: ${text}`),
    [],
  );
  assert.ok(found.size > all.length / 3, `${found.size} of ${all.length}`);
});

test('the linter refuses modules of Node and packages that a layer may not import', () => {
  const modules = [
    'node:fs',
    'node:fs/promises',
    'node:child_process',
    'fs',
    'node:path',
    'valibot',
    'koffi',
  ];
  const all = probes(() => modules);
  const found = refused(all);
  const wrong = all.filter((probe) => found.has(probe.path) !== isForbidden(probe));
  assert.deepEqual(
    wrong.map(({ path, text }) => `${path}: ${text}`),
    [],
  );
});

test('unit tests may import anything', () => {
  const path = 'src/util/one.test.ts';
  const target = '../vm/vm.ts';
  assert.deepEqual([...refused([{ path, target, text: `import '${target}';` }])], []);
});

test('the linter of the repository has these rules', () => {
  assert.equal(readFileSync(LINT_FILE, 'utf8'), lintRules());
  const { extends: files } = JSON.parse(readFileSync('.oxlintrc.json', 'utf8')) as { extends: unknown };
  assert.deepEqual(files, [`./${LINT_FILE}`]);
});
