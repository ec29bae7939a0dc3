import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import type { Endpoints } from '../api/route.ts';
import { Gate, PING, TestServer, endpoint, golden, stubEndpoints } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';
const LIMIT = 4 * 1024 * 1024;

function put(name: string, length: number): string {
  return `PUT /api/v1/${name} HTTP/1.1\r\nContent-Length: ${length}\r\n\r\n`;
}

function chunk(size: number): string {
  return `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`;
}

for (const [what, bytes, status, message] of [
  ['garbage', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, /^Malformed request: Invalid method/],
  ['a lower-case verb', 'get /api/v1/vmm.ping HTTP/1.1\r\n\r\n', 400, /^Malformed request: Invalid method/],
  ['an unknown verb', 'FETCH /api/v1/vmm.ping HTTP/1.1\r\n\r\n', 400, /^Malformed request: /],
  ['an unknown protocol', 'GET /api/v1/vmm.ping XTTP/1.1\r\n\r\n', 400, /^Malformed request: /],
  ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, /^Malformed request: /],
  ['no target', 'GET HTTP/1.1\r\n\r\n', 400, /^Malformed request: /],
  ['bare line feeds', 'GET /api/v1/vmm.ping HTTP/1.1\n\n', 400, /^Malformed request: /],
  ['a header without colon', 'GET / HTTP/1.1\r\nnonsense\r\n\r\n', 400, /^Malformed request: /],
  ['a bad length', 'PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n', 400, /^Malformed request: /],
  ['a negative length', 'PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n', 400, /^Malformed request: /],
  [
    'two lengths',
    'PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    400,
    /^Malformed request: /,
  ],
  ['CONNECT', 'CONNECT localhost:80 HTTP/1.1\r\n\r\n', 400, 'Method CONNECT is not supported'],
  [
    'a head over 16 KiB',
    `GET / HTTP/1.1\r\nA: ${'x'.repeat(100_000)}\r\n\r\n`,
    431,
    'Request head is larger than 16384 bytes',
  ],
  ['a target over 16 KiB', `GET /${'x'.repeat(20_000)}`, 431, 'Request head is larger than 16384 bytes'],
] as const) {
  test(`${what} is answered ${status}, and only that connection closed`, async () => {
    await using server = await TestServer.start();
    using other = server.client();
    await other.send(GET_PING).expect(golden(200, PING));
    using client = server.client();
    client.send(GET_PING).send(Buffer.from(bytes, 'latin1'));
    await client.expect(golden(200, PING));
    const head = await client.expectMessages(status, message);
    assert.match(head, /\r\nServer: Cloud Hypervisor API\r\nConnection: close\r\n/);
    await client.expectEnd();
    await other.send(GET_PING).expect(golden(200, PING));
  });
}

for (const version of ['0.9', '2.0']) {
  test(`HTTP/${version} is answered 400, and the connection closed`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    client.send(`GET /api/v1/vmm.ping HTTP/${version}\r\n\r\n`);
    await client.expectMessages(400, 'vmm.ping failed', `HTTP version ${version} is not supported`);
    await client.expectEnd();
  });
}

test('a head just under 16 KiB is taken', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(`GET /api/v1/vmm.ping HTTP/1.1\r\nA: ${'x'.repeat(16_000)}\r\n\r\n`);
  await client.expect(golden(200, PING));
});

for (const [what, bytes] of [
  ['head', 'PUT /api/v1/vm.cre'],
  ['body', `${put('vm.create', 100)}{`],
]) {
  test(`a request that ends in the middle of its ${what}`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    client.send(String(bytes)).socket.end();
    const { head, body } = await client.answer();
    assert.match(head, /^HTTP\/1\.1 400 \r\n/);
    assert.match(body, /the connection ended in the middle of it"\]$/);
    await client.expectEnd();
  });
}

test('garbage inside a chunked body is the answer of that request', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send('PUT /api/v1/vm.create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{  \r\nzz\r\n');
  await client.expectMessages(400, 'vm.create failed', /^Malformed request: Invalid character in chunk size/);
  await client.expectEnd();
});

test('garbage behind a request whose handler runs is answered after the request', async () => {
  const gate = new Gate();
  const endpoints: Endpoints = new Map([['vm.echo', held('required', gate)]]);
  await using server = await TestServer.start(endpoints);
  using client = server.client();
  client.send(`${put('vm.echo', 1)}7\x01\x02\x03`);
  using other = server.client();
  await other.send('GET / HTTP/1.1\r\n\r\n').expectMessages(404, /./);
  gate.open();
  await client.expect(golden(200, '7'));
  await client.expectMessages(400, /^Malformed request/);
  await client.expectEnd();
});

test('bodies up to 4 MiB are taken, by length and in chunks', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  const text = JSON.stringify('x'.repeat(LIMIT - 2));
  client.send(put('vm.length', LIMIT)).send(text);
  await client.expect(golden(200, String(LIMIT - 2)));
  client.send('PUT /api/v1/vm.length HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n');
  for (let at = 0; at < LIMIT; at += 65536) client.send(`10000\r\n${text.slice(at, at + 65536)}\r\n`);
  await client.send('0\r\n\r\n').expect(golden(200, String(LIMIT - 2)));
});

for (const name of ['vm.create', 'vm.boot', 'vmm.shutdown']) {
  test(`a larger body is refused before it is read: ${name}`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    client.send(put(name, LIMIT + 1));
    await client.expectMessages(413, `${name} failed`, 'Request body is larger than 4194304 bytes');
    await client.expectEnd();
  });
}

test('a larger body gets its answer even when the client sends it all before it reads', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(put('vm.create', 2 * LIMIT)).send(Buffer.alloc(2 * LIMIT));
  await once(client.socket, 'drain');
  await client.expectMessages(413, 'vm.create failed', 'Request body is larger than 4194304 bytes');
  await client.expectEnd();
});

test('a chunked body that becomes too large is refused; later requests are not handled', async () => {
  const log: string[] = [];
  await using server = await TestServer.start(stubEndpoints(log));
  using client = server.client();
  client.send('PUT /api/v1/vm.create HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n');
  client.send(chunk(LIMIT)).send(chunk(1)).send('0\r\n\r\n').send('PUT /api/v1/vm.boot HTTP/1.1\r\n\r\n');
  await client.expectMessages(413, 'vm.create failed', 'Request body is larger than 4194304 bytes');
  await client.expectEnd();
  assert.deepEqual(log, []);
});

test('a body to an unknown path is bounded too', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send(put('vm.none', LIMIT + 1));
  await client.expectMessages(413, 'Request body is larger than 4194304 bytes');
  await client.expectEnd();
});

for (const [what, body, message] of [
  ['not JSON', '{"a": tru}', 'Request body is not JSON at line 1 column 7: expected a value, found "t"'],
  ['cut off', '{"a":\n [1,', 'Request body is not JSON at line 2 column 5: expected a value, found the end'],
  ['not UTF-8', Buffer.from('{"a":"\xff"}', 'latin1'), 'Request body is not UTF-8 at byte 6'],
] as const) {
  test(`a body that is ${what} is refused with the place of the fault`, async () => {
    await using server = await TestServer.start();
    using client = server.client();
    client.send(put('vm.create', body.length)).send(body);
    await client.expectMessages(400, 'vm.create failed', message);
    await client.send(GET_PING).expect(golden(200, PING));
  });
}

test('a client that disconnects within a request or a reply does not affect others', async () => {
  const gate = new Gate();
  await using server = await TestServer.start(
    new Map([...stubEndpoints(), ['vm.held', held('refused', gate)], ['vm.late', held('required', gate)]]),
  );
  for (const bytes of ['GET /ap', `${put('vm.create', 10)}{`, put('vm.held', 0), `${put('vm.late', 1)}1`]) {
    const client = server.client().send(bytes);
    await once(client.socket, 'connect');
    using other = server.client();
    await other.send(GET_PING).expect(golden(200, PING));
    client.socket.destroy();
  }
  gate.open();
  using client = server.client();
  await client.send(GET_PING).expect(golden(200, PING));
});

function held(body: 'required' | 'refused', gate: Gate): ReturnType<typeof endpoint> {
  return endpoint('PUT', body, async (request) => {
    await gate.opened;
    return request;
  });
}
