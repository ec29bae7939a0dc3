// nephos run of a registry's image: --pull and --platform, with docker-registry on loopback.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { copyImage, startDockerRegistry } from './support/docker-registry.ts';
import { makeOciImage } from './support/oci-image.ts';
import { makeRunHome } from './support/run-home.ts';
import { makeFolder } from './support/vmm.ts';

test('a run asks the registry as --pull says, and takes the platform of the host', async () => {
  const folder = makeFolder();
  using home = makeRunHome();
  await using registry = await startDockerRegistry(join(folder, 'registry'));
  const name = `${registry.host}/app:1`;
  const push = (version: string): void => {
    const layout = makeOciImage(join(folder, version), { Cmd: ['cat', '/version'] }, { '/version': version });
    copyImage(`${layout}:latest`, `docker://${name}`);
  };
  const run = async (...flags: string[]): Promise<string> => {
    const { code, stdout, stderr } = await home.nephos('run', '--rm', ...flags, name);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    return stdout;
  };
  push('first');
  const absent = await home.nephos('run', '--rm', '--pull', 'never', name);
  assert.equal(absent.code, 125);
  assert.match(absent.stderr, /it is not in the store; run nephos pull/);
  assert.equal(await run(), 'first');
  push('second');
  assert.equal(await run('--pull=missing'), 'first');
  assert.equal(await run('--pull=always', '--platform', 'linux/amd64'), 'second');
  assert.equal(await run('--pull=never'), 'second');
  const other = await home.nephos('run', '--rm', '--platform', 'linux/arm64', name);
  assert.equal(other.code, 125);
  assert.match(other.stderr, /it has no linux\/arm64; it has linux\/amd64/);
  assert.deepEqual(home.vms(), []);
});
