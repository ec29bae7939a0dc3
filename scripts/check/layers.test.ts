// The rules for imports between the folders of src/, tried with files that break them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { referencesOf } from './imports.ts';
import { FOLDER_RULES, LAYERS, layerViolation, renderViolation, throughExports } from './layers.ts';

const BELOW_API = ['util', 'schema', 'devices', 'config'];
const BELOW_PLAN = [...BELOW_API, 'api'];

/** Folders that each folder of src/ may import from, beside itself. Not taken from layers.ts, which is tested with it. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  util: [],
  native: ['util'],
  backends: ['util', 'native'],
  schema: ['util'],
  devices: ['util', 'schema'],
  config: ['util', 'schema', 'devices'],
  api: BELOW_API,
  plan: BELOW_PLAN,
  qemu: [...BELOW_PLAN, 'native'],
  host: [...BELOW_PLAN, 'native'],
  'snapshot-files': ['util', 'schema', 'host', 'native'],
  vm: [...BELOW_PLAN, 'native', 'plan', 'qemu', 'host', 'snapshot-files', 'backends'],
  http: [...BELOW_PLAN, 'native'],
  web: [...BELOW_PLAN, 'native', 'http'],
  guest: ['util'],
  images: [...BELOW_PLAN, 'host', 'native'],
  sdk: [...BELOW_PLAN, 'native', 'backends', 'guest', 'snapshot-files'],
  run: [...BELOW_PLAN, 'native', 'qemu', 'host', 'sdk', 'guest', 'images', 'snapshot-files'],
  cli: [
    ...BELOW_PLAN,
    'native',
    'plan',
    'qemu',
    'host',
    'backends',
    'vm',
    'http',
    'web',
    'sdk',
    'guest',
    'images',
    'snapshot-files',
    'run',
  ],
};
const FOLDERS = Object.keys(ALLOWED);

/** Names of folders that are those of other layers, too: a rule is for the first folder below src/ alone. */
const DEPTHS = ['', 'nested/', 'nested/deep/', 'vm/devices/', 'host/config/api/'];

const FORMS: readonly ((module: string) => string)[] = [
  (module) => `import { one } from '${module}';`,
  (module) => `import type { One } from '${module}';`,
  (module) => `import * as all from '${module}';`,
  (module) => `import '${module}';`,
  (module) => `export { one } from '${module}';`,
  (module) => `export type { One } from '${module}';`,
  (module) => `export * from '${module}';`,
  (module) => `const one = await import('${module}');`,
  (module) => `type One = import('${module}').One;`,
  (module) => `const one = require('${module}');`,
  (module) => `import one = require('${module}');`,
  (module) => `const one = await import(\`${module}\`);`,
  (module) => `declare module '${module}' {}`,
  (module) => `import {\n  one,\n  two,\n} from "${module}";`,
];

/** Renders each forbidden import of a text. */
function violationsIn(path: string, text: string): string[] {
  return referencesOf({ path, text }).flatMap((reference) => {
    const reason = layerViolation(reference);
    return reason === undefined ? [] : [renderViolation(reference, reason)];
  });
}

/** True if a file in this folder may not import that module, in each form of an import. */
function isRefused(path: string, module: string): boolean {
  const refused = FORMS.map((form) => violationsIn(path, form(module)).length > 0);
  assert.ok(
    refused.every((one) => one === refused[0]),
    `${path}, ${module}: ${refused.join(' ')}`,
  );
  return refused[0] ?? false;
}

for (const from of FOLDERS)
  test(`${from}/ may import what its layer allows, at any depth and in any form`, () => {
    const wrong = FOLDERS.filter((to) => to !== from).flatMap((to) =>
      DEPTHS.flatMap((depth) =>
        ['one.ts', 'deep/er/one.ts'].flatMap((target) => {
          const up = '../'.repeat(depth.split('/').length);
          const refused = isRefused(`src/${from}/${depth}probe.ts`, `${up}${to}/${target}`);
          return refused === (ALLOWED[from]?.includes(to) === true) ? [`${from}/${depth} to ${to}`] : [];
        }),
      ),
    );
    assert.deepEqual(wrong, []);
  });

test('a file may import its own layer, also through folders with names of other layers', () => {
  assert.equal(isRefused('src/util/nested/a.ts', '../b.ts'), false);
  assert.equal(isRefused('src/vm/devices/disk/a.ts', '../../http/b.ts'), false);
  assert.equal(isRefused('src/vm/devices/disk/a.ts', '../../../http/b.ts'), true);
});

test('files of src/ import no tests, scripts or benchmarks', () => {
  assert.equal(isRefused('src/util/a.ts', '../../tests/support/until.ts'), true);
  assert.equal(isRefused('src/cli/a.ts', '../../scripts/bundles.ts'), true);
  assert.equal(isRefused('tests/support/a.ts', '../../src/vm/vm.ts'), false);
  assert.equal(isRefused('src/util/a.test.ts', '../../tests/support/until.ts'), false);
  assert.equal(isRefused('src/devices/common/test-kit.ts', 'node:assert/strict'), false);
  assert.equal(isRefused('src/main.ts', './vm/vmm.ts'), false);
});

test('layers without I/O do not import the modules of Node that do it', () => {
  for (const folder of ['devices', 'config'])
    for (const module of ['node:fs', 'fs', 'node:path', 'koffi', 'prom-client'])
      assert.equal(isRefused(`src/${folder}/deep/a.ts`, module), true, `${folder} ${module}`);
  for (const module of ['node:fs', 'fs/promises', 'node:child_process', 'node:net', 'node:http', 'koffi'])
    assert.equal(isRefused('src/plan/deep/a.ts', module), true, module);
  assert.equal(isRefused('src/plan/a.ts', 'node:path'), false);
  assert.equal(isRefused('src/vm/a.ts', 'node:fs'), false);
  assert.equal(isRefused('src/devices/a.ts', 'valibot'), false);
});

test('native/ alone imports the package that binds the C library', () => {
  assert.equal(isRefused('src/host/a.ts', 'koffi'), true);
  assert.equal(isRefused('src/native/a.ts', 'koffi'), false);
});

test('one layer imports the SSH client and the package for tar archives', () => {
  assert.equal(isRefused('src/sdk/a.ts', 'ssh2'), true);
  assert.equal(isRefused('src/guest/a.ts', 'ssh2'), false);
  assert.equal(isRefused('src/run/a.ts', 'tar-stream'), true);
  assert.equal(isRefused('src/guest/a.ts', 'tar-stream'), false);
});

test('a new folder of src/ must be one of the layers', () => {
  assert.equal(isRefused('src/extra/a.ts', '../util/b.ts'), true);
});

test('files that are no tests import no tests and no helpers of tests', () => {
  assert.equal(isRefused('src/devices/a.ts', './common/test-kit.ts'), true);
  assert.equal(isRefused('src/devices/a.ts', './a.test.ts'), true);
});

test('an import whose module the running program computes is refused', () => {
  assert.equal(violationsIn('src/vm/a.ts', 'await import(name);').length, 1);
  assert.equal(violationsIn('src/vm/a.ts', 'await import(`../${layer}/a.ts`);').length, 1);
});

test('an import through the exports of other files is an import of the file behind them', () => {
  const texts = {
    'src/vm/launch/a.ts': "import { save } from '../all.ts';",
    'src/vm/all.ts': "export * from './more.ts';",
    'src/vm/more.ts': "import { save } from './snapshot/save.ts';\nexport { save };",
  };
  const references = Object.entries(texts).flatMap(([path, text]) => referencesOf({ path, text }));
  const [one, ...others] = throughExports(references).filter(
    (reference) => layerViolation(reference) !== undefined,
  );
  assert.deepEqual(others, []);
  assert.equal(one?.from, 'src/vm/launch/a.ts');
  assert.equal(one?.target, '../all.ts (exports src/vm/snapshot/save.ts)');
});

/** Folders of vm/ that may not import each other, in this direction. */
const FORBIDDEN_IN_VM: readonly (readonly [from: string, to: string])[] = [
  ['snapshot', 'migration'],
  ['migration', 'snapshot'],
  ['launch', 'snapshot'],
  ['launch', 'migration'],
  ['launch', 'hotplug'],
  ['launch', 'guest-exit'],
  ['machine-state', 'snapshot'],
  ['machine-state', 'migration'],
  ['devices', 'launch'],
  ['devices', 'snapshot'],
  ['devices', 'migration'],
  ['devices', 'hotplug'],
  ['observe', 'launch'],
  ['hotplug', 'snapshot'],
  ['hotplug', 'launch'],
  ['resize', 'migration'],
];

test('in vm/, snapshot and migration use the other folders, not the reverse', () => {
  for (const [from, to] of FORBIDDEN_IN_VM) {
    assert.equal(isRefused(`src/vm/${from}/a.ts`, `../${to}/b.ts`), true, `${from} to ${to}`);
    assert.equal(isRefused(`src/vm/${from}/deep/a.ts`, `../../${to}/b.ts`), true, `${from} to ${to}`);
  }
  assert.equal(isRefused('src/vm/snapshot/a.ts', '../launch/b.ts'), false);
  assert.equal(isRefused('src/vm/snapshot/a.ts', '../machine-state/b.ts'), false);
  assert.equal(isRefused('src/vm/hotplug/a.ts', '../devices/disk/b.ts'), false);
});

test('a finding names the file, the line, the module and the reason', () => {
  assert.deepEqual(violationsIn('src/vm/deep/a.ts', "import 'node:fs';\nimport '../../http/server.ts';\n"), [
    'src/vm/deep/a.ts:2: must not import ../../http/server.ts: vm/ has no transport: neither http/, sdk/ nor cli/ (docs/architecture.md, layers)',
  ]);
});

test('the rules name each layer once, and folders that have a layer', () => {
  assert.deepEqual(LAYERS.map(({ name }) => name).toSorted(), FOLDERS.toSorted());
  for (const { folder, without } of FOLDER_RULES)
    for (const one of [folder, ...without]) assert.ok(FOLDERS.includes(one.split('/')[0] ?? ''), one);
});
