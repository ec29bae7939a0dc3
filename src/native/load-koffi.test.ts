import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { findLibrary, loadLibrary } from './load-koffi.ts';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'koffi-')));
after(() => rmSync(folder, { recursive: true }));

const { platform, arch } = process;
const LIBRARY = `@koromix/koffi-${platform}-${arch}/${platform}_${arch}/koffi.node`;

/** Makes an empty file, with its folders. */
function makeFile(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  return path;
}

test('the library is found in a folder above, beside the package koffi', () => {
  const root = join(folder, 'flat');
  mkdirSync(join(root, 'node_modules/koffi'), { recursive: true });
  const library = makeFile(join(root, 'node_modules', LIBRARY));
  assert.equal(findLibrary(join(root, 'node_modules/nephos/dist')), library);
  assert.equal(findLibrary(join(root, 'dist')), library);
});

test('the library is found through a link to the package koffi, as `pnpm` makes it', () => {
  const root = join(folder, 'linked');
  const store = join(root, 'store/node_modules');
  mkdirSync(join(store, 'koffi'), { recursive: true });
  const library = makeFile(join(store, LIBRARY));
  mkdirSync(join(root, 'node_modules'));
  symlinkSync(join(store, 'koffi'), join(root, 'node_modules/koffi'));
  assert.equal(findLibrary(join(root, 'node_modules/nephos/dist')), library);
});

test('a package koffi without a library for this platform is loaded itself', () => {
  const root = join(folder, 'bare');
  mkdirSync(join(root, 'node_modules/koffi'), { recursive: true });
  assert.equal(findLibrary(join(root, 'dist')), undefined);
});

test('a library that is no library, or has another version, is not used', () => {
  assert.equal(loadLibrary(makeFile(join(folder, 'koffi.node')), '1.0.0'), undefined);
  const library = findLibrary(process.cwd());
  assert.ok(library !== undefined);
  assert.equal(loadLibrary(library, '0.0.1'), undefined);
  const { version }: { version: string } = JSON.parse(
    readFileSync('node_modules/koffi/package.json', 'utf8'),
  );
  assert.ok(loadLibrary(library, version) !== undefined);
});

test('a bundle loads the library, and no file of the package koffi', () => {
  const hook = join(folder, 'hook.cjs');
  writeFileSync(
    hook,
    `process.dlopen = (_module, path) => {
      const files = Object.keys(require.cache).filter((file) => file.includes('/node_modules/koffi/'));
      process.stderr.write(JSON.stringify([path, files]));
      process.reallyExit(99);
    };`,
  );
  const words = ['--require', hook, 'bin/cloud-hypervisor', '--api-socket', join(folder, 'api')];
  const { stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  assert.deepEqual(JSON.parse(stderr), [findLibrary(process.cwd()), []]);
});
