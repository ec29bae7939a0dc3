import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiError } from '../api/errors.ts';
import type { MessageChannel, Upgrades } from '../api/route.ts';
import { loadWs, type WebSocket } from '../util/load-ws.ts';
import { serve, type ApiServer } from './server.ts';
import { golden, PING, RawClient, stubEndpoints, TempDir } from './test-kit.ts';
import { MESSAGE_BYTES } from './web-socket.ts';

const KEY = randomBytes(16).toString('base64');

/** Sends messages back: bytes as bytes, texts as texts. */
function mirror(channels: MessageChannel[] = []): Upgrades {
  return new Map([
    [
      'vm.mirror',
      (query) => {
        if (query.get('refuse') !== null) throw new ApiError('wrong-state', 'The VM is not booted');
        return (channel) => {
          channels.push(channel);
          return {
            onBytes: channel.sendBytes,
            onText: channel.sendText,
            onTaken: () => undefined,
            onClose: () => undefined,
          };
        };
      },
    ],
  ]);
}

async function withServer(use: (path: string, server: ApiServer) => Promise<void>, upgrades = mirror()) {
  using dir = new TempDir();
  const path = join(dir.path, 'api.sock');
  await using server = await serve({ listen: { path }, endpoints: stubEndpoints(), upgrades });
  await use(path, server);
}

/** A handshake; `change` replaces headers, undefined removes one. */
function handshake(target = '/api/v1/vm.mirror', change: Readonly<Record<string, string | undefined>> = {}) {
  const headers = {
    Host: 'x',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    ...change,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return `GET ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

async function open(path: string, query = ''): Promise<WebSocket> {
  const { WebSocket } = await loadWs();
  const socket = new WebSocket(`ws://x/api/v1/vm.mirror${query}`, { createConnection: () => connect(path) });
  await once(socket, 'open');
  return socket;
}

/** Returns the status code and the reason with which a connection ends. */
async function ending(socket: WebSocket): Promise<readonly [code: number, reason: string]> {
  socket.on('error', () => undefined);
  return new Promise((resolve) =>
    socket.once('close', (code: number, reason: Buffer) => resolve([code, String(reason)])),
  );
}

test('messages pass in both directions, behind the replies to earlier requests', () =>
  withServer(async (path) => {
    using raw = new RawClient(path);
    raw.send(`GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n${handshake()}`);
    await raw.expect(golden(200, PING));
    const { head } = await raw.answer();
    assert.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    const socket = await open(path);
    for (const [sent, isBinary] of [
      [Buffer.from([0, 255, 13]), true],
      [Buffer.from('täxt'), false],
    ] as const) {
      socket.send(sent, { binary: isBinary });
      const [data, binary] = (await once(socket, 'message')) as [Buffer, boolean];
      assert.deepEqual([data, binary], [sent, isBinary]);
    }
    socket.close();
    assert.equal((await ending(socket))[0], 1005);
  }));

test('a handshake that is wrong gets an error answer that names the header', () =>
  withServer(async (path) => {
    for (const [change, message] of [
      [{ Upgrade: 'h2c' }, /^Upgrade must be websocket$/],
      [{ 'Sec-WebSocket-Version': '12' }, /^Sec-WebSocket-Version must be 13$/],
      [{ 'Sec-WebSocket-Version': undefined }, /^Sec-WebSocket-Version must be 13$/],
      [{ 'Sec-WebSocket-Key': 'short' }, /^Sec-WebSocket-Key /],
      [{ 'Sec-WebSocket-Key': undefined }, /^Sec-WebSocket-Key /],
      [{ 'Content-Length': '3' }, /^Request body must be empty$/],
      [{ Upgrade: undefined, Connection: undefined }, /^This is a WebSocket: /],
    ] as const) {
      using client = new RawClient(path);
      await client.send(handshake(undefined, change)).expectMessages(400, 'vm.mirror failed', message);
    }
    using put = new RawClient(path);
    const head = await put
      .send('PUT /api/v1/vm.mirror HTTP/1.1\r\n\r\n')
      .expectMessages(405, 'vm.mirror failed', /use GET$/);
    assert.match(head, /\r\nAllow: GET\r\n/);
  }));

test('an endpoint may refuse the upgrade, and the connection ends with the answer', () =>
  withServer(async (path) => {
    using client = new RawClient(path);
    client.send(handshake('/api/v1/vm.mirror?refuse=1'));
    await client.expectMessages(405, 'vm.mirror failed', 'The VM is not booted');
    await client.expectEnd();
  }));

test('an upgrade that is offered for another endpoint is ignored', () =>
  withServer(async (path) => {
    using client = new RawClient(path);
    await client.send(handshake('/api/v1/vmm.ping')).expect(golden(200, PING, 'close'));
    using other = new RawClient(path);
    const target = '/api/v1/vm.other?device=serial';
    await other.send(handshake(target)).expectMessages(404, `No such endpoint: ${target}`);
  }));

test('messages of hostile clients end the connection with a status code', () =>
  withServer(async (path) => {
    const large = await open(path);
    large.send(Buffer.alloc(MESSAGE_BYTES + 1));
    assert.equal((await ending(large))[0], 1009);
    const fragments = await open(path);
    for (let sent = 0; sent <= MESSAGE_BYTES; sent += 1024)
      fragments.send(Buffer.alloc(1024), { fin: false });
    assert.equal((await ending(fragments))[0], 1009);
    const text = await open(path);
    text.send(Buffer.from([0xff, 0xfe]), { binary: false });
    assert.equal((await ending(text))[0], 1007);
    const unmasked = await open(path);
    unmasked.send(Buffer.from('a'), { mask: false });
    assert.equal((await ending(unmasked))[0], 1002);
  }));

test('a client that sends pings and does not read is cut off', () =>
  withServer(async (path) => {
    using client = new RawClient(path);
    await client.send(handshake()).answer();
    const closed = new Promise<void>((resolve) => void client.socket.once('close', () => resolve()));
    client.socket.pause();
    // pings with 125 bytes, masked with zeros
    const ping = Buffer.concat([Buffer.from([0x89, 0x80 | 125, 0, 0, 0, 0]), Buffer.alloc(125)]);
    const pings = Buffer.concat(Array.from({ length: 500 }, () => ping));
    const timer = setInterval(() => client.socket.writable && client.send(pings), 1);
    client.socket.once('error', () => client.socket.resume());
    await closed.finally(() => clearInterval(timer));
  }));

test('the end of the server ends each connection with 1001', async () => {
  const channels: MessageChannel[] = [];
  await withServer(async (path, server) => {
    const socket = await open(path);
    const ended = ending(socket);
    await server.close();
    assert.deepEqual(await ended, [1001, 'The VMM exits']);
  }, mirror(channels));
  assert.equal(channels.length, 1);
});
