import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';

import { ApiError } from '../api/errors.ts';
import type { Upgrades } from '../api/route.ts';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import type { ClientStream } from './connection.ts';
import type { Gate } from './gate.ts';
import { startListening, type OpenListener } from './listener.ts';
import { serve } from './server.ts';
import { PING, RawClient, TempDir, stubEndpoints } from './test-kit.ts';

const GATE: Gate = {
  headers: ['X-Rule', 'on'],
  answer: (request) => {
    const { url, headers } = request;
    if (url === '/api/v1/vm.mirror?secret=1') request.url = '/api/v1/vm.mirror?device=serial';
    if (url === '/page') return { status: 200, body: Buffer.from('é'), contentType: 'text/html' };
    return headers.authorization === 'yes' ? undefined : { status: 401, body: '["refused"]' };
  },
};

/** A listener of plain sockets, as src/web/ has one. */
const plainListener =
  (path: string): OpenListener =>
  async (onConnection) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      onConnection(Object.assign(socket, { takeDescriptors: () => [] }) satisfies ClientStream);
    });
    const { removeFile } = await startListening(server, { path });
    const close = async (): Promise<void> => {
      removeFile();
      await new Promise((resolve) => server.close(resolve));
    };
    return { close };
  };

async function startGated(path: string, upgrades: Upgrades = new Map()) {
  return serve({ listen: plainListener(path), endpoints: stubEndpoints(), gate: GATE, upgrades });
}

test('the gate answers before the endpoint, and its headers are in every reply', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'web');
  await using _server = await startGated(path);
  using client = new RawClient(path);
  const page = await client.send('GET /page HTTP/1.1\r\n\r\n').answer();
  assert.match(
    page.head,
    /^HTTP\/1\.1 200 \r\n.*Content-Type: text\/html\r\nContent-Length: 2\r\nX-Rule: on/s,
  );
  assert.equal(page.body, 'é');
  const refused = await client.send('GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n').answer();
  assert.match(refused.head, /^HTTP\/1\.1 401 \r\n.*\r\nX-Rule: on\r\n/s);
  // a head in two packets: plain sockets have a faster way into Node's parser
  client.send('GET /api/v1/vmm.ping HTTP/1.1\r\nAuthor');
  const reply = await client.send('ization: yes\r\n\r\n').answer();
  assert.match(reply.head, /^HTTP\/1\.1 200 \r\n.*\r\nX-Rule: on\r\n/s);
  assert.equal(reply.body, PING);
  const malformed = await client.send('GET / HTTP/9\r\n\r\n').answer();
  assert.match(malformed.head, /^HTTP\/1\.1 400 \r\n.*\r\nX-Rule: on\r\n/s);
});

test('a request that the gate refuses ends the connection without a read of its body', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'web');
  await using _server = await startGated(path);
  using client = new RawClient(path);
  client.send('PUT /api/v1/vm.echo HTTP/1.1\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n');
  const { head, body } = await client.answer();
  assert.match(head, /^HTTP\/1\.1 401 \r\nServer: Cloud Hypervisor API\r\nConnection: close\r\n/);
  assert.equal(body, '["refused"]');
  await client.expectEnd();
});

test('of too many connections those of refused clients are closed first', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'web');
  await using _server = await startGated(path);
  using used = new RawClient(path);
  const ping = 'GET /api/v1/vmm.ping HTTP/1.1\r\nAuthorization: yes\r\n\r\n';
  assert.equal((await used.send(ping).answer()).body, PING);
  const refused: RawClient[] = [];
  const most = Math.floor(Math.min(1024, descriptorLimit() / 4));
  for (let i = 0; i < most; i++) {
    const client = new RawClient(path);
    refused.push(client);
    const target = i % 2 === 0 ? '/page' : '/api/v1/vmm.ping';
    await client.send(`GET ${target} HTTP/1.1\r\n\r\n`).answer();
  }
  using late = new RawClient(path);
  assert.equal((await late.send(ping).answer()).body, PING);
  assert.equal((await used.send(ping).answer()).body, PING);
  for (const client of refused) client[Symbol.dispose]();
});

test('the gate sees every header of a head with thousands', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'web');
  await using _server = await startGated(path);
  using client = new RawClient(path);
  const many = 'x:\r\n'.repeat(3000);
  const { head } = await client
    .send(`GET /api/v1/vmm.ping HTTP/1.1\r\n${many}Authorization: yes\r\n\r\n`)
    .answer();
  assert.match(head, /^HTTP\/1\.1 200 /);
});

test('an upgrade has the query that the gate leaves', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'web');
  const seen: string[] = [];
  const accept = (query: URLSearchParams): never => {
    seen.push(query.toString());
    throw new ApiError('wrong-state', 'The VM is not booted');
  };
  await using _server = await startGated(path, new Map([['vm.mirror', accept]]));
  using client = new RawClient(path);
  const lines = [
    'GET /api/v1/vm.mirror?secret=1 HTTP/1.1',
    'Authorization: yes',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  ];
  await client.send(`${lines.join('\r\n')}\r\n\r\n`).answer();
  assert.deepEqual(seen, ['device=serial']);
});
