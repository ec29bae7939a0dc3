import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ImageError, type ImageFault } from '../image-error.ts';
import { openAnyImage, pullAnyImage } from '../open-image.ts';
import { jsonBlob, makeTestImage, makeTestStore, TYPES, type TestStore } from '../test-image.ts';
import type { OciImage, OpenImageOptions } from '../image.ts';
import { indexOf, startTestRegistry, type TestRegistry } from './test-registry.ts';

const AMD64: OpenImageOptions = { platform: 'linux/amd64' };

async function open(
  { context }: TestStore,
  { host }: TestRegistry,
  options: OpenImageOptions & { readonly name?: string } = {},
): Promise<OciImage> {
  const { name = 'app:1', ...rest } = options;
  const image = await openAnyImage(context, `${host}/${name}`, { ...AMD64, ...rest });
  assert.equal(image.kind, 'oci');
  return image;
}

async function fails(work: Promise<unknown>, fault: ImageFault, message: RegExp): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof ImageError, String(error));
    assert.match(error.message, message);
    assert.equal(error.fault, fault);
    return true;
  });
}

test('a pulled image has its layers and process; its next use asks no registry', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one');
  registry.add('1', made);
  const image = await open(store, registry);
  assert.equal(image.digest, made.manifest.digest);
  assert.deepEqual(
    image.layers.map(({ diffId }) => diffId),
    [made.diffId],
  );
  assert.deepEqual(image.process.command, ['one']);
  const count = registry.requests.length;
  assert.deepEqual(await open(store, registry), image);
  assert.deepEqual(await open(store, registry, { pull: 'never' }), image);
  assert.equal(registry.requests.length, count);
});

test('a tag refers to the same image until it is pulled again', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  registry.add('1', one);
  await open(store, registry);
  registry.add('1', two);
  assert.equal((await open(store, registry)).digest, one.manifest.digest);
  const pulled = await pullAnyImage(store.context, `${registry.host}/app:1`, AMD64);
  assert.equal(pulled.digest, two.manifest.digest);
  assert.equal((await open(store, registry)).digest, two.manifest.digest);
});

test('a damaged image is fetched again by its digest, also where its tag refers to another', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  registry.add('1', one);
  const image = await open(store, registry);
  registry.add('1', two);
  rmSync(image.layers[0]?.path ?? '');
  assert.deepEqual(await open(store, registry), image);
  rmSync(image.layers[0]?.path ?? '');
  registry.answer = ({ url }, reply) => {
    if (url?.includes(one.manifest.digest) !== true) return false;
    reply.writeHead(404).end();
    return true;
  };
  await fails(open(store, registry), 'not-found', /no longer has sha256:.*run nephos pull/);
});

test('hostile: control characters of an image are not in messages', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const image = await makeTestImage('one');
  registry.addDocument('1', jsonBlob(indexOf({ 'linux/\u001b[2Jx': image }), TYPES.index));
  await fails(open(store, registry), 'not-found', /no linux\/amd64; it has linux\/\?\[2Jx$/);
});

test('the manifest of the wanted platform is chosen from an index, also from one within another', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const amd64 = await makeTestImage('amd64');
  const arm64 = await makeTestImage('arm64', { architecture: 'arm64' });
  registry.add('a', amd64);
  registry.add('b', arm64);
  registry.addDocument(
    '1',
    jsonBlob(indexOf({ 'linux/arm64/v8': arm64, 'linux/amd64': amd64 }), TYPES.index),
  );
  assert.equal((await open(store, registry)).digest, amd64.manifest.digest);
  const other = await open(store, registry, { platform: 'linux/arm64' });
  assert.equal(other.digest, arm64.manifest.digest);
  await fails(
    open(store, registry, { platform: 'linux/s390x' }),
    'not-found',
    /no linux\/s390x; it has linux\/arm64\/v8, linux\/amd64/,
  );
  await fails(open(store, registry, { name: 'app:b' }), 'not-found', /no linux\/amd64; it has linux\/arm64/);
});

test('an image that is not in the store and must not be pulled is refused with a remedy', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  await fails(open(store, registry, { pull: 'never' }), 'not-found', /not in the store; run nephos pull/);
  await fails(open(store, registry, { name: 'app:none' }), 'not-found', /has no such image/);
});

test('a reference by digest is verified', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  registry.add('1', one);
  const image = await open(store, registry, { name: `app@${one.manifest.digest}` });
  assert.equal(image.digest, one.manifest.digest);
  registry.answer = ({ url }, reply) => {
    if (url?.includes(two.manifest.digest) !== true) return false;
    reply.writeHead(200, { 'Content-Type': TYPES.manifest }).end(one.manifest.bytes);
    return true;
  };
  const name = `app@${two.manifest.digest}`;
  await fails(open(store, registry, { name }), 'invalid', /does not have the digest/);
});

test('a download that breaks off is continued from its last byte', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one', { bytes: Buffer.alloc(100_000, 7) });
  registry.add('1', made);
  const half = Math.floor(made.layer.bytes.length / 2);
  let cuts = 0;
  registry.answer = ({ url }, reply) => {
    if (url?.includes(made.layer.digest) !== true || cuts++ > 0) return false;
    reply.writeHead(200, { 'Content-Length': made.layer.bytes.length });
    reply.write(made.layer.bytes.subarray(0, half), () => reply.destroy());
    return true;
  };
  await open(store, registry);
  assert.ok(
    registry.requests.includes(`GET /v2/app/blobs/${made.layer.digest} bytes=${half}-`),
    registry.requests.join('\n'),
  );
});

test('a server without ranges sends everything again', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one');
  registry.add('1', made);
  let count = 0;
  registry.answer = ({ url }, reply) => {
    if (url?.includes(made.layer.digest) !== true) return false;
    reply.writeHead(200, { 'Content-Length': made.layer.bytes.length });
    if (count++ > 0) reply.end(made.layer.bytes);
    else reply.write(made.layer.bytes.subarray(0, 20), () => reply.destroy());
    return true;
  };
  assert.equal((await open(store, registry)).digest, made.manifest.digest);
});

test('answers 500 and 429 are tried again, with a bound', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  registry.add('1', await makeTestImage('one'));
  let count = 0;
  registry.answer = (_request, reply) => {
    if (count++ >= 2) return false;
    reply.writeHead(count === 1 ? 500 : 429, { 'Retry-After': '0' }).end();
    return true;
  };
  await open(store, registry);
  count = -100;
  await fails(open(store, registry, { pull: 'always' }), 'unreachable', /answers 429; it limits requests/);
  assert.equal(count, -97);
});

test('an aborted pull ends at once and leaves no image', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one');
  registry.add('1', made);
  const abort = new AbortController();
  registry.answer = ({ url }, reply) => {
    if (url?.includes(made.layer.digest) !== true) return false;
    reply.writeHead(200, { 'Content-Length': made.layer.bytes.length });
    reply.write(made.layer.bytes.subarray(0, 10), () => abort.abort());
    return true;
  };
  await fails(open(store, registry, { signal: abort.signal }), 'aborted', /aborted/);
  await fails(open(store, registry, { pull: 'never' }), 'not-found', /not in the store/);
});

const HOSTILE: readonly {
  readonly title: string;
  readonly kind: 'manifest' | 'config' | 'layer';
  readonly body: (right: Buffer) => Buffer;
  readonly fault: ImageFault;
  readonly message: RegExp;
}[] = [
  {
    title: 'a layer with other bytes',
    kind: 'layer',
    body: (right) => Buffer.alloc(right.length, 1),
    fault: 'invalid',
    message: /does not have this digest/,
  },
  {
    title: 'a layer with more bytes',
    kind: 'layer',
    body: (right) => Buffer.concat([right, Buffer.from('x')]),
    fault: 'invalid',
    message: /has more than the \d+ bytes/,
  },
  {
    title: 'a layer with fewer bytes',
    kind: 'layer',
    body: (right) => right.subarray(0, 10),
    fault: 'unreachable',
    message: /sends 10 of \d+ bytes/,
  },
  {
    title: 'a configuration with other bytes',
    kind: 'config',
    body: (right) => Buffer.alloc(right.length, 0x20),
    fault: 'invalid',
    message: /does not have this digest/,
  },
  {
    title: 'a configuration with fewer bytes',
    kind: 'config',
    body: (right) => right.subarray(1),
    fault: 'invalid',
    message: /bytes instead of/,
  },
  {
    title: 'a manifest of more than 4 MiB',
    kind: 'manifest',
    body: () => Buffer.alloc(4 * 2 ** 20 + 1, 0x20),
    fault: 'too-large',
    message: /more than 4194304 bytes/,
  },
  {
    title: 'a manifest that is not JSON',
    kind: 'manifest',
    body: () => Buffer.from('<html>'),
    fault: 'invalid',
    message: /manifest is not JSON/,
  },
  {
    title: 'a manifest that is an index, too',
    kind: 'manifest',
    body: (right) => Buffer.from(JSON.stringify({ ...JSON.parse(right.toString()), manifests: [] })),
    fault: 'invalid',
    message: /manifest and an index/,
  },
  {
    title: "a manifest of docker's schema 1",
    kind: 'manifest',
    body: () => Buffer.from(JSON.stringify({ schemaVersion: 1, fsLayers: [] })),
    fault: 'invalid',
    message: /old schema 1; push the image again/,
  },
  {
    title: 'a manifest with a path as digest',
    kind: 'manifest',
    body: (right) => Buffer.from(right.toString().replaceAll(/sha256:\w+/g, '../../../../etc/passwd')),
    fault: 'invalid',
    message: /is not a sha256 or sha512 digest/,
  },
];

for (const { title, kind, body, fault, message } of HOSTILE) {
  test(`hostile: ${title} is refused and leaves nothing`, async () => {
    await using store = await makeTestStore();
    await using registry = await startTestRegistry();
    const made = await makeTestImage('one');
    registry.add('1', made);
    registry.answer = ({ url }, reply) => {
      const wanted = kind === 'manifest' ? '/manifests/' : made[kind].digest;
      if (url?.includes(wanted) !== true) return false;
      reply.writeHead(200, { 'Content-Type': made[kind].mediaType }).end(body(made[kind].bytes));
      return true;
    };
    await fails(open(store, registry), fault, message);
    await fails(open(store, registry, { pull: 'never' }), 'not-found', /not in the store/);
  });
}

test('hostile: endless bodies end at their bounds', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one');
  registry.add('1', made);
  let endless = '/manifests/';
  registry.answer = ({ url }, reply) => {
    if (url?.includes(endless) !== true) return false;
    reply.writeHead(200);
    const piece = Buffer.alloc(65_536, 0x20);
    const send = (): void => {
      while (!reply.destroyed && reply.write(piece));
      if (!reply.destroyed) reply.once('drain', send);
    };
    send();
    return true;
  };
  await fails(open(store, registry), 'too-large', /more than 4194304 bytes/);
  endless = made.config.digest;
  await fails(open(store, registry), 'too-large', /more than 8388608 bytes/);
  endless = made.layer.digest;
  await fails(open(store, registry), 'invalid', /more than the \d+ bytes/);
});

test('hostile: a server that never answers, or sends a byte at a time, ends the pull', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one', { bytes: Buffer.alloc(50_000, 7) });
  registry.add('1', made);
  registry.answer = ({ url }, reply) => {
    if (url?.includes(made.layer.digest) !== true) return false;
    reply.writeHead(200, { 'Content-Length': made.layer.bytes.length });
    const timer = setInterval(() => reply.write('x'), 50);
    reply.once('close', () => clearInterval(timer));
    return true;
  };
  await fails(open(store, registry), 'unreachable', /sends less than 1024 bytes in 0\.4 s/);
  registry.answer = () => true;
  await fails(open(store, registry), 'unreachable', /does not answer within 1 s/);
});

test('hostile: loops of redirects and of indexes end', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  registry.answer = ({ url }, reply) => {
    reply.writeHead(302, { Location: `${url}x` }).end();
    return true;
  };
  await fails(open(store, registry), 'unreachable', /redirects more than 10 times/);
  registry.answer = () => false;
  const image = await makeTestImage('deep');
  registry.add('image', image);
  let document = jsonBlob(indexOf({ 'linux/amd64': image }), TYPES.index);
  for (let depth = 0; depth < 5; depth++) {
    registry.addDocument(`depth${depth}`, document);
    document = jsonBlob(indexOf({ 'linux/amd64': { ...image, manifest: document } }), TYPES.index);
  }
  registry.addDocument('1', document);
  await fails(open(store, registry), 'invalid', /more than 4 nested indexes/);
});

test('hostile: redirects to other schemes are refused', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  for (const location of ['file:///etc/passwd', 'ftp://127.0.0.1/x', 'http://[broken']) {
    registry.answer = (_request, reply) => {
      reply.writeHead(307, { Location: location }).end();
      return true;
    };
    await fails(open(store, registry), 'invalid', /which is not HTTPS|not a URL/);
  }
});

test('credentials and tokens are not sent to the host of a redirect', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  const made = await makeTestImage('one');
  registry.add('1', made);
  const seen: (string | undefined)[] = [];
  await using storage = await startServer((request, reply) => {
    seen.push(request.headers.authorization);
    reply.end(made.layer.bytes);
  });
  registry.answer = (request, reply) => {
    const { url = '', headers } = request;
    if (url.startsWith('/token')) {
      reply.end(JSON.stringify({ token: 'secret-token' }));
      return true;
    }
    if (headers.authorization !== 'Bearer secret-token') {
      const realm = `http://${registry.host}/token`;
      reply
        .writeHead(401, { 'WWW-Authenticate': `Bearer realm="${realm}",service="s",scope="registry:*:*"` })
        .end();
      return true;
    }
    if (!url.includes(made.layer.digest)) return false;
    reply.writeHead(307, { Location: `${storage.url}/blob` }).end();
    return true;
  };
  await open(store, registry);
  assert.deepEqual(seen, [undefined]);
  const token = registry.requests.find((one) => one.includes('/token'));
  // the scope is that of the pull, not the wider one of the challenge
  assert.equal(token, 'GET /token?service=s&scope=repository%3Aapp%3Apull');
});

test('a registry that denies access is reported with docker login as the remedy', async () => {
  await using store = await makeTestStore();
  await using registry = await startTestRegistry();
  registry.answer = (_request, reply) => {
    reply.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
    return true;
  };
  const message = new RegExp(`needs a login.*docker login ${registry.host}`);
  await fails(open(store, registry), 'denied', message);
});

async function startServer(
  handle: Parameters<typeof createServer>[1],
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(handle as never);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
