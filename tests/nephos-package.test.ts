// The package as npm installs it: the programs, their documents, and a run with empty caches.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { makeOciImage } from './support/oci-image.ts';
import { makeFolder } from './support/vmm.ts';

const run = promisify(execFile);

/** Time for packages of npm and Debian, and a first boot, in milliseconds. */
const FIRST_RUN_MS = 600_000;

const folder = makeFolder();
const prefix = join(folder, 'prefix');
const program = join(prefix, 'bin/nephos');
const home = join(folder, 'home');
// no variable of the user leads to files outside the folder; those of proxies stay
const { XDG_STATE_HOME: _state, XDG_CACHE_HOME: _cache, NEPHOS_CACHE: _nephos, ...rest } = process.env;
const env = { ...rest, HOME: home, npm_config_update_notifier: 'false' };

before(async () => {
  mkdirSync(home);
  await run('npm', ['pack', '--silent', '--pack-destination', folder]);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  assert.ok(tarball);
  await run('npm', ['install', '--global', '--prefix', prefix, join(folder, tarball)], { env });
});
after(() => rmSync(folder, { recursive: true, force: true }));

test('the package installs the programs and their manual pages', async () => {
  for (const name of ['nephos', 'cloud-hypervisor', 'ch-remote']) {
    const { stdout } = await run(join(prefix, 'bin', name), ['--help'], { env });
    assert.match(stdout, /usage/i);
    assert.ok(existsSync(join(prefix, 'share/man/man1', `${name}.1`)), name);
  }
  assert.ok(existsSync(join(prefix, 'lib', 'node_modules', 'nephos', 'docs', 'nephos.md')));
});

test('doctor finds all that a run needs, with empty caches', async () => {
  const { stdout } = await run(program, ['doctor', '--format', 'json'], { env });
  const checks: unknown = JSON.parse(stdout);
  assert.ok(Array.isArray(checks));
  const found = checks.find(({ subject }) => subject === 'kernel and guest tools');
  assert.deepEqual([found.result, found.cure], ['warning', 'nephos setup does it now']);
});

test('the first run makes the guest tools, and runs a command', { timeout: FIRST_RUN_MS }, async () => {
  const image = makeOciImage(join(folder, 'image'));
  const words = ['run', '--rm', image, '--', 'sh', '-c', 'echo from the guest; echo apart >&2; exit 42'];
  const outcome = await run(program, words, { env }).catch((error: unknown) => error);
  assert.ok(outcome instanceof Error && 'code' in outcome && 'stdout' in outcome && 'stderr' in outcome);
  assert.deepEqual([outcome.code, outcome.stdout, outcome.stderr], [42, 'from the guest\n', 'apart\n']);
  assert.deepEqual(
    readdirSync(join(home, '.local/state/nephos/vms')).filter((name) => !name.startsWith('.')),
    [],
  );
});
