import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { parseReference } from '../reference.ts';
import { findCredentials } from './docker-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'nephos-docker-config-'));
const VARIABLES = ['DOCKER_CONFIG', 'REGISTRY_AUTH_FILE', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME'] as const;
const before = VARIABLES.map((name) => [name, process.env[name]] as const);

beforeEach(() => {
  for (const name of VARIABLES) process.env[name] = join(folder, name);
});
after(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(folder, { recursive: true, force: true });
});

function writeConfig(config: object | string, path = 'DOCKER_CONFIG/config.json'): void {
  const file = join(folder, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
}

function entry(user: string): { auth: string } {
  return { auth: Buffer.from(`${user}:pass:word`).toString('base64') };
}

async function userOf(reference: string): Promise<string | undefined> {
  const { credentials } = await findCredentials(parseReference(reference));
  return credentials?.kind === 'password' ? credentials.username : undefined;
}

test('credentials are those of the registry, in each form of a key', async () => {
  writeConfig({
    auths: {
      'one.example': entry('one'),
      'https://two.example:5000/v1/': entry('two'),
      'https://index.docker.io/v1/': entry('hub'),
    },
  });
  assert.equal(await userOf('one.example/app'), 'one');
  assert.equal(await userOf('two.example:5000/app'), 'two');
  assert.equal(await userOf('alpine'), 'hub');
  assert.equal(await userOf('two.example/app'), undefined);
  assert.equal(await userOf('not-one.example/app'), undefined);
  const { credentials } = await findCredentials(parseReference('one.example/app'));
  assert.deepEqual(credentials, { kind: 'password', username: 'one', password: 'pass:word' });
});

test('the longest key with a path decides, and is for its repositories only', async () => {
  writeConfig({ auths: { 'one.example/team': entry('team'), 'one.example/team/app': entry('app') } });
  assert.equal(await userOf('one.example/team/app'), 'app');
  assert.equal(await userOf('one.example/team/other'), 'team');
  assert.equal(await userOf('one.example/teams'), undefined);
});

test('an identity token and a name without auth are found', async () => {
  writeConfig({
    auths: {
      'one.example': { ...entry('one'), identitytoken: 'refresh' },
      'two.example': { username: 'two', password: 'p' },
    },
  });
  const { credentials } = await findCredentials(parseReference('one.example/app'));
  assert.deepEqual(credentials, { kind: 'token', token: 'refresh' });
  assert.equal(await userOf('two.example/app'), 'two');
});

test('the files of podman and skopeo follow that of docker', async () => {
  writeConfig({ auths: { 'one.example': entry('docker') } });
  writeConfig(
    { auths: { 'one.example': entry('podman'), 'two.example': entry('podman') } },
    'XDG_RUNTIME_DIR/containers/auth.json',
  );
  assert.equal(await userOf('one.example/app'), 'docker');
  assert.equal(await userOf('two.example/app'), 'podman');
});

test('a broken configuration or helper gives no credentials, and a reason without secrets', async () => {
  rmSync(join(folder, 'XDG_RUNTIME_DIR'), { recursive: true, force: true });
  for (const [config, reason] of [
    ['{"auths": secret', /is not JSON$/],
    [{ auths: { 'one.example': { auth: 1 } } }, /is wrong at auths\.one\.example\.auth$/],
    [{ credsStore: '../../bin/sh' }, /is not the name of a credential helper$/],
    [{ credHelpers: { 'one.example': 'missing-program' } }, /docker-credential-missing-program failed/],
  ] as const) {
    writeConfig(config);
    const found = await findCredentials(parseReference('one.example/app'));
    assert.equal(found.credentials, undefined);
    assert.match(found.failure ?? '', reason);
    assert.doesNotMatch(found.failure ?? '', /secret/);
  }
});
