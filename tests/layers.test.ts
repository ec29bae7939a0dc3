// The linter's rules for imports between the folders of src/ (AGENTS.md), tried with files that break them.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { makeFolder } from './support/vmm.ts';

const BELOW_API = ['util', 'schema', 'devices', 'config'];
const BELOW_PLAN = [...BELOW_API, 'api'];

/** The folders that each folder of src/ may import from, beside itself; cli/ may import from all. */
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
  vm: [...BELOW_PLAN, 'native', 'plan', 'qemu', 'host', 'backends'],
  http: [...BELOW_PLAN, 'native'],
  sdk: [...BELOW_PLAN, 'native'],
};
const FOLDERS = [...Object.keys(ALLOWED), 'cli'];

/** Depths of folders below a layer's own. */
const DEPTHS = [0, 1, 2];

interface Probe {
  readonly path: string;
  readonly from: string;
  readonly to: string;
}

test('an import of another layer is refused where AGENTS.md forbids it, in folders of any depth', async () => {
  const root = makeFolder();
  copyFileSync('.oxlintrc.json', join(root, '.oxlintrc.json'));
  const probes = FOLDERS.flatMap((from) => FOLDERS.flatMap((to) => plantImports(root, from, to)));
  const refused = await refusedFiles(root);
  const wrong = probes.filter(({ path, from, to }) => refused.has(path) !== isForbidden(from, to));
  assert.deepEqual(wrong, []);
});

function isForbidden(from: string, to: string): boolean {
  const allowed = ALLOWED[from];
  return allowed !== undefined && !allowed.includes(to);
}

/** Writes files of one folder that import from another, also from a folder in it. */
function plantImports(root: string, from: string, to: string): Probe[] {
  if (from === to) return [];
  return DEPTHS.flatMap((depth) =>
    ['one', 'deep/er/one'].map((target, i) => {
      const path = ['src', from, ...Array<string>(depth).fill('nested'), `${to}-${i}.ts`].join('/');
      const up = '../'.repeat(depth + 1);
      mkdirSync(join(root, dirname(path)), { recursive: true });
      writeFileSync(join(root, path), `export { one } from '${up}${to}/${target}.ts';\n`);
      return { path, from, to };
    }),
  );
}

/** Names of the files in which the linter finds an import that is restricted. */
async function refusedFiles(root: string): Promise<Set<string>> {
  const linter = resolve('node_modules', '.bin', 'oxlint');
  const output = await new Promise<string>((done) => {
    // it ends with 1 where it finds something
    execFile(linter, ['--format', 'json'], { cwd: root, maxBuffer: 2 ** 26 }, (_error, stdout) =>
      done(stdout),
    );
  });
  const { diagnostics } = JSON.parse(output) as { diagnostics: { code: string; filename: string }[] };
  const restricted = diagnostics.filter(({ code }) => code.includes('no-restricted-imports'));
  return new Set(restricted.map(({ filename }) => filename));
}
