import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { test } from 'node:test';

import type { Endpoints } from '../api/route.ts';
import { Gate, PING, TestServer, endpoint, golden, stubEndpoints } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';

function put(name: string): string {
  return `PUT /api/v1/${name} HTTP/1.1\r\n\r\n`;
}

function withHandler(name: string, handle: () => Promise<unknown>): Endpoints {
  return new Map([...stubEndpoints(), [name, endpoint('PUT', 'ignored', handle)]]);
}

test('close removes the socket file and ends idle connections and half requests', async () => {
  await using server = await TestServer.start();
  using idle = server.client();
  await idle.send(GET_PING).expect(golden(200, PING));
  using half = server.client();
  await half.send(GET_PING + GET_PING.slice(0, 9)).expect(golden(200, PING));
  using body = server.client();
  body.send(`${GET_PING}PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 9\r\n\r\n{`);
  await body.expect(golden(200, PING));
  await server.close();
  assert.equal(existsSync(server.path), false);
  await Promise.all([idle.expectEnd(), half.expectEnd(), body.expectEnd()]);
});

test('the request that closes the server gets its reply; queued requests are not handled', async () => {
  const log: string[] = [];
  let closed: Promise<void> | undefined;
  const shutdown = endpoint('PUT', 'ignored', async () => {
    closed = server.close();
    return undefined;
  });
  const endpoints = new Map([...stubEndpoints(log), ['vmm.shutdown', shutdown] as const]);
  await using server = await TestServer.start(endpoints);
  using client = server.client();
  client.send(put('vmm.shutdown') + put('vm.boot'));
  await client.expect(golden(204));
  await client.expectEnd();
  await closed;
  assert.deepEqual(log, []);
});

test('a current answer is delivered, a new client is not accepted', async () => {
  const gate = new Gate();
  const begun = new Gate();
  await using server = await TestServer.start(
    withHandler('vm.info', async () => {
      begun.open();
      await gate.opened;
      return 'x'.repeat(4_000_000);
    }),
  );
  using client = server.client();
  client.send(put('vm.info'));
  await begun.opened;
  const closed = server.close();
  using late = server.client();
  await late.expectEnd();
  gate.open();
  await client.expect(golden(200, JSON.stringify('x'.repeat(4_000_000))));
  await client.expectEnd();
  await closed;
});

test('hung handlers and clients that do not read delay the close up to its deadline', async () => {
  const begun = new Gate();
  await using server = await TestServer.start(
    new Map([
      ...withHandler('vm.info', async () => 'x'.repeat(4_000_000)),
      [
        'vm.boot',
        endpoint('PUT', 'refused', () => {
          begun.open();
          return new Promise(() => {});
        }),
      ],
    ]),
  );
  using stuck = server.client();
  stuck.send(put('vm.boot'));
  await begun.opened;
  using deaf = server.client();
  deaf.socket.pause();
  deaf.send(put('vm.info'));
  await Promise.all([server.close(20), server.close(20)]);
  await stuck.expectEnd();
});

test('closing the server does not cut off the last reply to a refused client', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send('garbage\r\n\r\n');
  await client.expectMessages(400, /^Malformed/);
  await server.close();
  await client.expectEnd();
});

test('a client that never closes its side is disconnected after a refusal', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  client.send('garbage\r\n\r\n');
  await client.expectMessages(400, /^Malformed/);
  assert.ok(client.socket instanceof Socket);
  while (!client.socket.destroyed && client.socket.writable) {
    await new Promise<void>((resolve) => client.socket.write('more', () => resolve()));
  }
});
