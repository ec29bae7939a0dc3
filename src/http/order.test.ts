import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';

import type { Endpoints } from '../api/route.ts';
import { CapturedLog, Gate, PING, TestServer, endpoint, golden, stubEndpoints } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';

function put(name: string, body = ''): string {
  const length = body === '' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  return `PUT /api/v1/${name} HTTP/1.1\r\n${length}\r\n${body}`;
}

/** Handlers that record when they begin and end; those with a gate end when it opens. */
function traced(gates: Readonly<Record<string, Gate>>, log: string[]): Endpoints {
  const names = ['vm.create', 'vm.boot', 'vm.info'];
  return new Map(
    names.map((name) => [
      name,
      endpoint('PUT', name === 'vm.create' ? 'required' : 'refused', async () => {
        log.push(`${name} begins`);
        await gates[name]?.opened;
        log.push(`${name} ends`);
        return { name };
      }),
    ]),
  );
}

test('pipelined requests are done one after the other and answered in order', async () => {
  const log: string[] = [];
  const gates = { 'vm.create': new Gate(), 'vm.boot': new Gate() };
  await using server = await TestServer.start(traced(gates, log));
  using client = server.client();
  client.send(put('vm.create', '{}') + put('vm.boot') + put('vm.info'));
  // of two connections either may be read first
  while (log.length === 0) await nextTurn();
  using other = server.client();
  await other.send(put('vm.info')).expect(golden(200, '{"name":"vm.info"}'));
  assert.deepEqual(log, ['vm.create begins', 'vm.info begins', 'vm.info ends']);
  gates['vm.create'].open();
  await client.expect(golden(200, '{"name":"vm.create"}'));
  gates['vm.boot'].open();
  await client.expect(golden(200, '{"name":"vm.boot"}') + golden(200, '{"name":"vm.info"}'));
  assert.deepEqual(log.slice(3), [
    'vm.create ends',
    'vm.boot begins',
    'vm.boot ends',
    'vm.info begins',
    'vm.info ends',
  ]);
});

test('a thousand pipelined requests, with and without bodies, byte by byte at their joints', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  let requests = '';
  let answers = '';
  for (let i = 0; i < 500; i += 1) {
    requests += GET_PING + put('vm.echo', `[${i}]`);
    answers += golden(200, PING) + golden(200, `[${i}]`);
  }
  for (let at = 0; at < requests.length; at += 997) client.send(requests.slice(at, at + 997));
  await client.expect(answers);
});

test('two thousand pipelined requests in one write', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await client.send(GET_PING.repeat(2000)).expect(golden(200, PING).repeat(2000));
});

test('a client that sends without end while a handler runs is disconnected, others are not', async () => {
  using captured = new CapturedLog();
  const gate = new Gate();
  const log: string[] = [];
  await using server = await TestServer.start(traced({ 'vm.boot': gate }, log));
  using client = server.client();
  client.send(put('vm.boot').repeat(20_000));
  await client.expectEnd();
  using other = server.client();
  await other.send(put('vm.info')).expect(golden(200, '{"name":"vm.info"}'));
  gate.open();
  await other.send(put('vm.boot')).expect(golden(200, '{"name":"vm.boot"}'));
  assert.equal(log.filter((line) => line === 'vm.boot begins').length, 2);
  assert.match(
    captured.lines.join(''),
    /^[^\n]* A client was cut off: it sent more than 4096 requests[^\n]*\n$/,
  );
});

test('64 clients, each beside one that sends half a request and waits', async () => {
  await using server = await TestServer.start();
  const halves = [GET_PING.slice(0, 20), put('vm.create', '{"a":1}').slice(0, -3), 'G', ''];
  const slow = Array.from({ length: 64 }, (_, i) => server.client().send(halves[i % halves.length] ?? ''));
  const clients = Array.from({ length: 64 }, () => server.client());
  await Promise.all(
    clients.map(async (client, i) => {
      for (let turn = 0; turn < 5; turn += 1) {
        await client.send(put('vm.echo', `"${i}.${turn}"`)).expect(golden(200, `"${i}.${turn}"`));
      }
    }),
  );
  for (const client of slow) assert.equal(client.socket.destroyed, false);
  await Promise.all(
    slow.map(async (client, i) => {
      if (i % halves.length === 0) await client.send(GET_PING.slice(20)).expect(golden(200, PING));
      if (i % halves.length === 1) await client.send(':1}').expect(golden(204));
    }),
  );
  for (const client of [...slow, ...clients]) client[Symbol.dispose]();
});

test('queued requests of a disconnected client are not begun', async () => {
  const gate = new Gate();
  const log: string[] = [];
  await using server = await TestServer.start(traced({ 'vm.boot': gate }, log));
  const client = server.client().send(put('vm.boot') + put('vm.info'));
  using other = server.client();
  await other.send(put('vm.info')).expect(golden(200, '{"name":"vm.info"}'));
  client.socket.destroy();
  // The server sees the end of the connection before a later request of another client.
  await other.send(put('vm.info')).expect(golden(200, '{"name":"vm.info"}'));
  gate.open();
  await other.send(put('vm.boot')).expect(golden(200, '{"name":"vm.boot"}'));
  assert.equal(log.filter((line) => line === 'vm.boot ends').length, 2);
  assert.equal(log.filter((line) => line === 'vm.info begins').length, 2);
});

test('an exception of a handler is a 500 without a stack; the log has it', async () => {
  using captured = new CapturedLog();
  const fail = endpoint('PUT', 'refused', () => {
    throw new TypeError('x is not a function', { cause: new Error('deeper') });
  });
  await using server = await TestServer.start(new Map([...stubEndpoints(), ['vm.boot', fail]]));
  using client = server.client();
  client.send(put('vm.boot'));
  await client.expectMessages(500, 'vm.boot failed', 'x is not a function', 'deeper');
  await client.send(GET_PING).expect(golden(200, PING));
  assert.match(
    captured.lines.join(''),
    /ERROR:http -- vm\.boot failed: TypeError: x is not a function.* at .*order\.test/,
  );
});
