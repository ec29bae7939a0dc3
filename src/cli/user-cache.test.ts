// The compiled code in the user's cache, with a copy of the package that has no code of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { Script } from 'node:vm';

const folder = mkdtempSync(join(tmpdir(), 'user-cache-'));
after(() => rmSync(folder, { recursive: true }));

const home = join(folder, 'home');
const code = join(home, 'code');
const program = join(folder, 'bin', 'ch-remote');
const bundle = join(folder, 'dist', 'ch-remote.cjs');

cpSync('bin', join(folder, 'bin'), { recursive: true });
mkdirSync(join(folder, 'dist'));
copyFileSync('dist/ch-remote.cjs', bundle);
writeFileSync(
  join(folder, 'hook.cjs'),
  `const vm = require('node:vm');
  vm.Script = class extends vm.Script {
    constructor(source, options) {
      super(source, options);
      process.stderr.write('code ' + (options.cachedData ? (this.cachedDataRejected ? 'refused' : 'used') : 'absent'));
    }
  };`,
);

/** Runs the program. @returns the state of the compiled code: absent, refused or used */
function runProgram(cache = home): string {
  const env = {
    ...process.env,
    NEPHOS_CACHE: cache,
    NODE_OPTIONS: `--require ${join(folder, 'hook.cjs')}`,
  };
  const { status, stdout, stderr } = spawnSync(program, ['--version'], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^ch-remote v/);
  return stderr.replace(/^code /, '');
}

/** Returns the only entry of the cache. */
function entry(): string {
  const [name = '', ...others] = readdirSync(code);
  assert.deepEqual(others, []);
  return join(code, name);
}

beforeEach(() => rmSync(home, { recursive: true, force: true }));

test('the first run writes the compiled code, private to the user; the next one uses it', () => {
  assert.equal(runProgram(), 'absent');
  assert.equal(statSync(code).mode & 0o777, 0o700);
  const { mode, ino, mtimeMs } = statSync(entry());
  assert.equal(mode & 0o777, 0o600);
  assert.equal(runProgram(), 'used');
  const later = statSync(entry());
  assert.deepEqual([later.ino, later.mtimeMs], [ino, mtimeMs]);
});

test('the code of another bundle of the same length is not used', () => {
  assert.equal(runProgram(), 'absent');
  const text = readFileSync(bundle, 'utf8');
  writeFileSync(bundle, text.replace('// build/', '// BUILD/'));
  assert.equal(runProgram(), 'absent');
  assert.equal(readdirSync(code).length, 2);
});

test('a damaged entry is replaced', () => {
  assert.equal(runProgram(), 'absent');
  const { size } = statSync(entry());
  // a file of the same size whose last bytes are zeros: the host has lost power
  for (const bytes of [size, 1000]) {
    truncateSync(entry(), 1000);
    truncateSync(entry(), bytes);
    assert.equal(runProgram(), 'absent');
    assert.equal(runProgram(), 'used');
  }
});

test('an entry of other code that V8 refuses is replaced', () => {
  assert.equal(runProgram(), 'absent');
  const other = new Script('1').createCachedData();
  writeFileSync(entry(), Buffer.concat([createHash('sha256').update(other).digest(), other]));
  assert.equal(runProgram(), 'refused');
  assert.equal(runProgram(), 'used');
});

test('a folder or an entry to which others can write is not used', () => {
  assert.equal(runProgram(), 'absent');
  chmodSync(entry(), 0o666);
  assert.equal(runProgram(), 'absent');
  assert.equal(runProgram(), 'used');
  chmodSync(code, 0o777);
  assert.equal(runProgram(), 'absent');
  assert.equal(runProgram(), 'absent');
});

test('links in the place of the folder or an entry are not followed', () => {
  assert.equal(runProgram(), 'absent');
  const path = entry();
  const elsewhere = join(folder, 'elsewhere');
  copyFileSync(path, elsewhere);
  rmSync(path);
  symlinkSync(elsewhere, path);
  assert.equal(runProgram(), 'absent');
  rmSync(home, { recursive: true });
  mkdirSync(home);
  const target = mkdtempSync(join(folder, 'target-'));
  symlinkSync(target, code);
  assert.equal(runProgram(), 'absent');
  assert.deepEqual(readdirSync(target), []);
});

test('a cache that cannot be made does not matter', () => {
  writeFileSync(home, 'a file');
  assert.equal(runProgram(), 'absent');
  // mkdir(2) fails with ENOENT here
  assert.equal(runProgram('/proc/nephos'), 'absent');
});

test('entries of former versions are removed', () => {
  mkdirSync(code, { recursive: true, mode: 0o700 });
  for (let i = 0; i < 20; i++) writeFileSync(join(code, `old-${i}.cache`), '', { mode: 0o600 });
  assert.equal(runProgram(), 'absent');
  assert.equal(readdirSync(code).length, 12);
  assert.equal(runProgram(), 'used');
});
