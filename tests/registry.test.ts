// Images of real registries and programs: docker-registry, umoci and skopeo, on loopback.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSign } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Image, OpenImageOptions } from '../src/images/image.ts';
import { ImageError, type ImageFault } from '../src/images/image-error.ts';
import { listImages, openImage, pullImage, removeImage } from '../src/images/index.ts';
import { copyImage, makeCertificate, makeLayout, startDockerRegistry } from './support/docker-registry.ts';

const folder = mkdtempSync(join(tmpdir(), 'nephos-registry-'));
const layout = join(folder, 'layout');
const FILES = { '/one.txt': 'first layer', '/dir/two.txt': 'second layer' };
makeLayout(layout, 'app', FILES);
after(() => rmSync(folder, { recursive: true, force: true }));

const USER = { name: 'user', password: 'secret word' };
/** Line of a password file: the `bcrypt` hash of the password. */
const HTPASSWD = `${USER.name}:$2y$05$abcdefghijklmnopqrstuu1C7yeI3ZG3Jm.nHdnKkGJg1xTYKP9Oy\n`;

/** Gives each test a store and a configuration of docker of its own. */
function useEnvironment(name: string, config: object = {}): void {
  const home = join(folder, name);
  mkdirSync(join(home, 'docker'), { recursive: true });
  writeFileSync(join(home, 'docker', 'config.json'), JSON.stringify(config));
  process.env['XDG_CACHE_HOME'] = join(home, 'cache');
  process.env['DOCKER_CONFIG'] = join(home, 'docker');
}

function contentOf(image: Image): string[] {
  assert.equal(image.kind, 'oci');
  return image.layers.map(({ path }, i) =>
    execFileSync('rdsquashfs', ['--cat', Object.keys(FILES)[i] ?? '', path], { encoding: 'utf8' }),
  );
}

async function fails(work: Promise<unknown>, fault: ImageFault, message: RegExp): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof ImageError, String(error));
    assert.match(error.message, message);
    assert.equal(error.fault, fault);
    return true;
  });
}

/** A registry whose storage has the image as team/app:1. */
async function startWithImage(
  name: string,
  sections?: Parameters<typeof startDockerRegistry>[1],
): ReturnType<typeof startDockerRegistry> {
  const storage = join(folder, name);
  {
    await using open = await startDockerRegistry(storage);
    copyImage(`oci:${layout}:app`, `docker://${open.host}/team/app:1`);
  }
  return startDockerRegistry(storage, sections);
}

test('an image of docker-registry has the layers and the process that umoci wrote', async () => {
  useEnvironment('plain');
  await using registry = await startWithImage('plain-registry');
  const steps = new Set<string>();
  const options: OpenImageOptions = { onProgress: ({ step }) => steps.add(step) };
  const image = await openImage(`${registry.host}/team/app:1`, options);
  assert.deepEqual(contentOf(image), Object.values(FILES));
  assert.equal(image.kind, 'oci');
  assert.deepEqual(image.process, {
    entrypoint: [],
    command: ['/bin/app'],
    env: ['A=b'],
    workingDirectory: '/srv',
    user: '1000:1000',
    stopSignal: 'SIGTERM',
    exposedPorts: [],
  });
  assert.deepEqual([...steps].toSorted(), ['download', 'resolve', 'unpack']);
  const byDigest = await openImage(`${registry.host}/team/app@${image.digest}`);
  assert.equal(byDigest.kind === 'oci' && byDigest.digest, image.digest);
  await fails(openImage(`${registry.host}/team/app:2`), 'not-found', /has no such image/);
});

test('an image in the schema of docker, and one with two platforms, are pulled', async () => {
  useEnvironment('formats');
  await using registry = await startDockerRegistry(join(folder, 'formats-registry'));
  copyImage(`oci:${layout}:app`, `docker://${registry.host}/team/app:docker`, '--format', 'v2s2');
  assert.deepEqual(contentOf(await openImage(`${registry.host}/team/app:docker`)), Object.values(FILES));
  copyImage(`oci:${layout}:app`, `docker://${registry.host}/team/app:1`);
  const url = `http://${registry.host}/v2/team/app/manifests`;
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await fetch(`${url}/1`, { headers: { Accept: mediaType } });
  const size = (await manifest.arrayBuffer()).byteLength;
  const digest = manifest.headers.get('docker-content-digest');
  const architecture = process.arch === 'x64' ? 'amd64' : 'arm64';
  const index = {
    schemaVersion: 2,
    manifests: [
      // its manifest is that of this machine: only the choice is tested
      { mediaType, digest, size, platform: { os: 'linux', architecture: 's390x' } },
      { mediaType, digest, size, platform: { os: 'linux', architecture } },
    ],
  };
  const put = await fetch(`${url}/multi`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/vnd.oci.image.index.v1+json' },
    body: JSON.stringify(index),
  });
  assert.equal(put.status, 201);
  assert.deepEqual(contentOf(await pullImage(`${registry.host}/team/app:multi`)), Object.values(FILES));
  await fails(
    openImage(`${registry.host}/team/app:multi`, { platform: 'linux/riscv64' }),
    'not-found',
    /no linux\/riscv64; it has linux\/s390x, linux\/(?:amd64|arm64)/,
  );
});

test('a pulled image needs no registry, is listed, and is removed', async () => {
  useEnvironment('offline');
  let name: string;
  {
    await using registry = await startWithImage('offline-registry');
    name = `${registry.host}/team/app:1`;
    await openImage(name);
  }
  assert.deepEqual(contentOf(await openImage(name)), Object.values(FILES));
  assert.deepEqual(
    (await listImages()).map(({ names }) => names),
    [[name]],
  );
  await fails(pullImage(name), 'unreachable', /refuses the connection/);
  assert.deepEqual((await removeImage(name)).names, [name]);
  await fails(openImage(name, { pull: 'never' }), 'not-found', /nephos pull/);
  const cache = join(process.env['XDG_CACHE_HOME'] ?? '', 'nephos/images');
  assert.deepEqual(readdirSync(join(cache, 'layers/sha256')), []);
  assert.equal(statSync(cache).mode & 0o777, 0o700);
});

test('a registry with passwords takes that of docker login, or of a credential helper', async () => {
  const htpasswd = join(folder, 'htpasswd');
  writeFileSync(htpasswd, HTPASSWD);
  await using registry = await startWithImage('htpasswd-registry', {
    auth: { htpasswd: { realm: 'test', path: htpasswd } },
  });
  const name = `${registry.host}/team/app:1`;
  useEnvironment('htpasswd-none');
  await fails(openImage(name), 'denied', /docker login 127\.0\.0\.1:\d+/);
  const pair = (password: string): string => Buffer.from(`${USER.name}:${password}`).toString('base64');
  useEnvironment('htpasswd-wrong', { auths: { [registry.host]: { auth: pair('wrong') } } });
  await fails(openImage(name), 'denied', /denies access/);
  useEnvironment('htpasswd-right', { auths: { [registry.host]: { auth: pair(USER.password) } } });
  assert.deepEqual(contentOf(await openImage(name)), Object.values(FILES));

  const programs = join(folder, 'programs');
  mkdirSync(programs);
  const helper = join(programs, 'docker-credential-test');
  writeFileSync(
    helper,
    `#!/bin/sh\n[ "$*" = get ] && [ "$(cat)" = ${registry.host} ] || exit 3\n` +
      `echo '{"ServerURL":"","Username":"${USER.name}","Secret":"${USER.password}"}'\n`,
  );
  chmodSync(helper, 0o755);
  useEnvironment('htpasswd-helper', { credHelpers: { [registry.host]: 'test' } });
  await fails(openImage(name), 'denied', /docker-credential-test failed/);
  const path = process.env['PATH'];
  process.env['PATH'] = `${programs}:${path}`;
  try {
    assert.deepEqual(contentOf(await openImage(name)), Object.values(FILES));
  } finally {
    process.env['PATH'] = path;
  }
});

test('a registry with tokens gets one for the pull of its repository', async () => {
  const { certificate, key } = makeCertificate(folder);
  const requests: (string | undefined)[] = [];
  const server = createServer((request, reply) => {
    const { searchParams } = new URL(request.url ?? '', 'http://localhost');
    requests.push(searchParams.get('scope') ?? undefined);
    const isUser =
      request.headers.authorization ===
      `Basic ${Buffer.from(`${USER.name}:${USER.password}`).toString('base64')}`;
    reply.end(JSON.stringify({ token: makeToken(certificate, key, isUser ? ['pull'] : []) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const token = {
      realm: `http://127.0.0.1:${port}/token`,
      service: 'test-registry',
      issuer: 'test-issuer',
      rootcertbundle: certificate,
    };
    await using registry = await startWithImage('token-registry', { auth: { token } });
    const name = `${registry.host}/team/app:1`;
    useEnvironment('token-none');
    await fails(openImage(name), 'denied', /denies access/);
    const auth = Buffer.from(`${USER.name}:${USER.password}`).toString('base64');
    useEnvironment('token-right', { auths: { [`https://${registry.host}/v1/`]: { auth } } });
    assert.deepEqual(contentOf(await openImage(name)), Object.values(FILES));
    assert.deepEqual([...new Set(requests)], ['repository:team/app:pull']);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

/** Makes a token as a token server of a registry does (RFC 7519). */
function makeToken(certificate: string, key: string, actions: readonly string[]): string {
  const now = Math.floor(Date.now() / 1000);
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const der = readFileSync(certificate, 'utf8').replaceAll(/-----.*-----|\s/g, '');
  const claims = {
    iss: 'test-issuer',
    sub: USER.name,
    aud: 'test-registry',
    ...{ exp: now + 300, nbf: now - 300, iat: now, jti: 'one' },
    access: [{ type: 'repository', name: 'team/app', actions }],
  };
  const text = `${encode({ typ: 'JWT', alg: 'RS256', x5c: [der] })}.${encode(claims)}`;
  return `${text}.${createSign('SHA256').update(text).sign(readFileSync(key), 'base64url')}`;
}

test('a registry with TLS is used with a trusted certificate only', async () => {
  useEnvironment('tls');
  const { certificate, key } = makeCertificate(folder);
  await using registry = await startWithImage('tls-registry', { tls: { certificate, key } });
  const name = `${registry.host}/team/app:1`;
  await fails(
    openImage(name),
    'unreachable',
    /certificate.*\/etc\/docker\/certs\.d\/127\.0\.0\.1:\d+\/ca\.crt/,
  );
  process.env['SSL_CERT_FILE'] = certificate;
  try {
    assert.deepEqual(contentOf(await openImage(name)), Object.values(FILES));
  } finally {
    delete process.env['SSL_CERT_FILE'];
  }
});

test('a registry with TLS is reached through the proxy of the environment', async () => {
  useEnvironment('proxy');
  const { certificate, key } = makeCertificate(folder);
  await using registry = await startWithImage('proxy-registry', { tls: { certificate, key } });
  const targets: (string | undefined)[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, client) => {
    targets.push(request.url);
    const server = connect(Number(registry.host.split(':')[1]), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      server.pipe(client).pipe(server);
    });
    for (const one of [client, server]) one.on('error', () => server.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  const variables = {
    HTTPS_PROXY: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    NO_PROXY: 'other.example',
    SSL_CERT_FILE: certificate,
  };
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    assert.deepEqual(contentOf(await openImage('registry.example/team/app:1')), Object.values(FILES));
    assert.deepEqual([...new Set(targets)], ['registry.example:443']);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    proxy.close();
    proxy.closeAllConnections();
  }
});

test('images that umoci and skopeo wrote to files are the same in each format', async () => {
  useEnvironment('files');
  copyImage(`oci:${layout}:app`, `docker-archive:${folder}/saved.tar:team/app:1`);
  copyImage(`oci:${layout}:app`, `oci-archive:${folder}/layout.tar:app`);
  for (const name of [
    `oci:${layout}`,
    `oci:${layout}:app`,
    `docker-archive:${folder}/saved.tar`,
    `docker-archive:${folder}/saved.tar:team/app:1`,
    `oci-archive:${folder}/layout.tar:app`,
  ])
    assert.deepEqual(contentOf(await openImage(name)), Object.values(FILES), name);
});
