import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { request, type IncomingHttpHeaders } from 'node:http';
import { statSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CapturedLog, stubEndpoints, TempDir, PING } from '../http/test-kit.ts';
import { errorChain } from '../api/errors.ts';
import type { WebAddress } from './listener.ts';
import { serveWeb } from './serve-web.ts';

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A page with stubs of the API, and requests to it. */
interface TestPage extends AsyncDisposable {
  readonly origin: string;
  readonly token: string;
  readonly lines: readonly string[];
  readonly ask: (path: string, asked?: Asked) => Promise<Reply>;
}

async function startPage(address: WebAddress = { host: '127.0.0.1', port: 0 }): Promise<TestPage> {
  using log = new CapturedLog();
  const server = await serveWeb(address, { endpoints: stubEndpoints() });
  const [, origin = '', token = ''] =
    /page: (http:\/\/[^/]+)\/\?token=([\w-]+)/.exec(log.lines.join('')) ?? [];
  const place =
    'path' in address ? { socketPath: address.path } : { host: '127.0.0.1', port: new URL(origin).port };
  const ask = (path: string, { method = 'GET', headers = {}, body }: Asked = {}): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const outgoing = request({ ...place, path, method, headers, agent: false }, (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (part: string) => (text += part));
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text }),
        );
      });
      outgoing.on('error', reject).end(body);
    });
  return {
    origin,
    token,
    lines: log.lines,
    ask,
    [Symbol.asyncDispose]: () => Promise.resolve(server[Symbol.asyncDispose]()),
  };
}

/** Returns the cookie that the page gives for the token. */
async function cookieOf({ ask, token }: TestPage): Promise<string> {
  const { headers } = await ask(`/?token=${token}`);
  return headers['set-cookie']?.[0]?.split(';')[0] ?? '';
}

const PING_PATH = '/api/v1/vmm.ping';
const ECHO_PATH = '/api/v1/vm.echo';

test('the token is exchanged for a cookie; the API needs either', async () => {
  await using page = await startPage();
  const { ask, token } = page;
  const first = await ask(`/?token=${token}`);
  assert.deepEqual([first.status, first.headers.location], [303, '/']);
  const cookie = await cookieOf(page);
  assert.equal((await ask(PING_PATH)).status, 401);
  assert.equal((await ask(PING_PATH, { headers: { cookie: cookie.slice(0, -1) } })).status, 401);
  for (const headers of [
    { cookie },
    { authorization: `Bearer ${token}` },
    { authorization: `bearer  ${token} ` },
  ]) {
    const reply = await ask(PING_PATH, { headers });
    assert.deepEqual([reply.status, reply.body], [200, PING]);
  }
  assert.equal((await ask(`${PING_PATH}?token=${token}`)).body, PING);
});

test('a wrong token is refused, even with the right cookie', async () => {
  await using page = await startPage();
  const { ask, token } = page;
  const cookie = await cookieOf(page);
  for (const wrong of ['x', '', token.slice(0, -1), `${token}0`]) {
    const reply = await ask(`/?token=${wrong}`, { headers: { cookie } });
    assert.deepEqual([reply.status, reply.headers['set-cookie']], [401, undefined], wrong);
    assert.equal((await ask(`${PING_PATH}?token=${wrong}`, { headers: { cookie } })).status, 401);
  }
  for (const authorization of ['Bearer', 'Bearer x', `Basic ${token}`, token])
    assert.equal((await ask(PING_PATH, { headers: { cookie, authorization } })).status, 401, authorization);
});

test('a rebinding Host is refused for files and the API, whatever the credentials', async () => {
  await using page = await startPage();
  const { ask, token } = page;
  const authorization = `Bearer ${token}`;
  for (const path of ['/', '/page.js', `/?token=${token}`, PING_PATH]) {
    const reply = await ask(path, { headers: { host: 'evil.example:80', authorization } });
    assert.deepEqual([reply.status, reply.headers['set-cookie']], [403, undefined], path);
  }
  const { host } = new URL(page.origin);
  assert.equal((await ask(PING_PATH, { headers: { host, authorization } })).status, 200);
});

test('a foreign origin is refused, and a change with the cookie needs the own one', async () => {
  await using page = await startPage();
  const { ask, token, origin } = page;
  const cookie = await cookieOf(page);
  const put = (headers: Asked['headers'] = {}) => ask(ECHO_PATH, { method: 'PUT', body: '7', headers });
  assert.deepEqual(
    [(await put({ cookie, origin })).status, (await put({ cookie, origin })).body],
    [200, '7'],
  );
  for (const foreign of ['http://evil.example', 'null', origin.replace('http:', 'https:'), `${origin}0`]) {
    for (const known of [{ cookie }, { authorization: `Bearer ${token}` }]) {
      assert.equal((await put({ ...known, origin: foreign })).status, 403, foreign);
      assert.equal((await ask(PING_PATH, { headers: { ...known, origin: foreign } })).status, 403, foreign);
    }
  }
  assert.equal((await put({ cookie })).status, 403);
  // a program has no origin, and says the token itself
  assert.equal((await put({ authorization: `Bearer ${token}` })).status, 200);
  assert.equal((await ask(PING_PATH, { headers: { cookie, 'sec-fetch-site': 'same-site' } })).status, 403);
});

test('an upgrade needs the token, or the cookie with the own origin', async () => {
  await using page = await startPage();
  const { ask, token } = page;
  const cookie = await cookieOf(page);
  const upgrade = { connection: 'upgrade', upgrade: 'websocket' };
  const statusOf = async (headers: Asked['headers']) =>
    (await ask(PING_PATH, { headers: { ...upgrade, ...headers } })).status;
  assert.equal(await statusOf({}), 401);
  assert.equal(await statusOf({ cookie }), 403);
  assert.equal(await statusOf({ cookie, origin: 'http://evil.example' }), 403);
  // no endpoint of an upgrade: the request is answered
  assert.equal(await statusOf({ cookie, origin: page.origin }), 200);
  assert.equal(await statusOf({ authorization: `Bearer ${token}` }), 200);
});

test('every reply has the rules for browsers', async () => {
  await using page = await startPage();
  for (const path of ['/', '/page.js', '/page.css', PING_PATH, '/nothing', `/?token=${page.token}`]) {
    const { headers } = await page.ask(path);
    const policy = String(headers['content-security-policy']);
    assert.match(policy, /default-src 'self';.*frame-ancestors 'none'/, path);
    assert.doesNotMatch(policy, /script-src|unsafe-eval|https?:/);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cache-control'], 'no-store');
  }
});

test('the page is HTML with files of its own; other paths are not served', async () => {
  await using page = await startPage();
  const { status, headers, body } = await page.ask('/');
  assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=utf-8']);
  for (const [, file = ''] of body.matchAll(/(?:src|href)="([^"]+)"/g))
    assert.equal((await page.ask(file)).status, 200, file);
  const authorization = `Bearer ${page.token}`;
  for (const path of ['/index.html', '/../package.json', '/%2e%2e/package.json', '//page.js']) {
    assert.equal((await page.ask(path)).status, 401, path);
    assert.equal((await page.ask(path, { headers: { authorization } })).status, 404, path);
  }
});

test('a UNIX socket is private, is reached as localhost, and is removed at the end', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'page, "é"');
  {
    await using page = await startPage({ path });
    assert.equal(page.origin, 'http://localhost');
    assert.match(page.lines.join(''), /on UNIX socket .*page, "é"/);
    assert.ok(statSync(path).isSocket());
    const authorization = `Bearer ${page.token}`;
    assert.equal(
      (await page.ask(PING_PATH, { headers: { authorization, host: 'localhost:9' } })).status,
      200,
    );
    assert.equal(
      (await page.ask(PING_PATH, { headers: { authorization, host: 'evil.example' } })).status,
      403,
    );
  }
  assert.ok(!existsSync(path));
});

test('an address beyond the loopback interface is warned of', async () => {
  await using page = await startPage({ host: '0.0.0.0', port: 0 });
  assert.match(page.lines.join(''), /WARN:web -- --web: other machines can reach 0\.0\.0\.0 port \d+/);
  assert.match(page.origin, /^http:\/\/127\.0\.0\.1:\d+$/);
  await using local = await startPage();
  assert.doesNotMatch(local.lines.join(''), /WARN/);
});

test('an address in use is refused with the reason', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const address = other.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { port } = address;
  await assert.rejects(serveWeb({ host: '127.0.0.1', port }, { endpoints: stubEndpoints() }), (error) => {
    assert.match(
      errorChain(error).join(': '),
      new RegExp(`^Cannot listen on 127\\.0\\.0\\.1 port ${port}: .*in use`),
    );
    return true;
  });
  other.close();
});
