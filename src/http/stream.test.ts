import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiError } from '../api/errors.ts';
import type { SendStream, StreamHandler, Streams } from '../api/route.ts';
import { createCleanupStack } from '../util/cleanup-stack.ts';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import { Gate, PING, TestServer, golden } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';
const GET_STREAM = 'GET /api/v1/vmm.letters HTTP/1.1\r\n\r\n';

const HEAD =
  'HTTP/1.1 200 \r\nServer: Cloud Hypervisor API\r\nConnection: close\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n';
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve())));

function streamOf(handle: StreamHandler): Streams {
  return new Map([['vmm.letters', { route: { method: 'GET', contentType: 'text/plain' }, handle }]]);
}

function startServer(send: SendStream): Promise<TestServer> {
  return TestServer.start(
    undefined,
    undefined,
    streamOf(() => send),
  );
}

test('writes of one turn are one chunk; the handler ends answer and connection', async () => {
  await using server = await startServer(async (sink) => {
    for (const text of ['a', 'bc', 'ä']) sink.write(Buffer.from(text));
  });
  using client = server.client();
  client.send(GET_STREAM);
  await client.expect(`${CHUNKED}5\r\nabcä\r\n0\r\n\r\n`);
  await client.expectEnd();
});

test('a client of HTTP/1.0 gets no chunks', async () => {
  await using server = await startServer(async (sink) => sink.write(Buffer.from('abc')));
  using client = server.client();
  client.send('GET /api/v1/vmm.letters HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  await client.expect(`${HEAD}\r\nabc`);
  await client.expectEnd();
});

test('the head is sent before the first bytes', async () => {
  await using server = await startServer((_, signal) => untilAborted(signal));
  using client = server.client();
  client.send(GET_STREAM);
  await client.expect(CHUNKED);
});

test('a stream follows the replies to earlier requests; requests behind it are not handled', async () => {
  await using server = await startServer(async (sink) => sink.write(Buffer.from('a')));
  using client = server.client();
  client.send(GET_PING + GET_STREAM + GET_PING);
  await client.expect(`${golden(200, PING)}${CHUNKED}1\r\na\r\n0\r\n\r\n`);
  await client.expectEnd();
});

test('a handler gets the query and the headers, and may refuse the request', async () => {
  await using server = await TestServer.start(
    undefined,
    undefined,
    streamOf(({ query, header }) => {
      if (query.get('a') !== 'b?c') throw new ApiError('bad-request', `no ${header('last-event-id')}`);
      return async (sink) => sink.write(Buffer.from(header('last-event-id') ?? ''));
    }),
  );
  using client = server.client();
  client.send('GET /api/v1/vmm.letters?a=c HTTP/1.1\r\nLast-Event-ID: 7\r\n\r\n');
  await client.expectMessages(400, 'vmm.letters failed', 'no 7');
  client.send('GET /api/v1/vmm.letters?a=b?c HTTP/1.1\r\nLast-Event-ID: 7\r\n\r\n');
  await client.expect(`${CHUNKED}1\r\n7\r\n0\r\n\r\n`);
});

for (const method of ['HEAD', 'PUT', 'DELETE']) {
  test(`${method} of a stream is refused with the method to use`, async () => {
    await using server = await startServer(() => assert.fail('it is served'));
    using client = server.client();
    client.send(`${method} /api/v1/vmm.letters?after=1 HTTP/1.1\r\n\r\n`);
    if (method === 'HEAD') {
      await client.expect(`${golden(405).slice(0, -2)}Allow: GET\r\n\r\n`);
    } else {
      const head = await client.expectMessages(405, 'vmm.letters failed', /^Method .* use GET$/);
      assert.match(head, /\r\nAllow: GET\r\n/);
    }
    await client.send(GET_PING).expect(golden(200, PING));
  });
}

test('a body that is too large is refused, with the name of the stream', async () => {
  await using server = await startServer(() => assert.fail('it is served'));
  using client = server.client();
  client.send('GET /api/v1/vmm.letters?a=b HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n');
  await client.expectMessages(413, 'vmm.letters failed', /^Request body is larger/);
});

test('a query is accepted by streams only', async () => {
  await using server = await startServer(async () => undefined);
  using client = server.client();
  client.send('GET /api/v1/vmm.ping?a=b HTTP/1.1\r\n\r\n');
  await client.expectMessages(404, 'No such endpoint: /api/v1/vmm.ping?a=b');
});

for (const [how, leave] of [
  ['closes the connection', (client) => client.socket.destroy()],
  [
    'closes its sending side, then the connection',
    (client) => client.socket.end(() => setImmediate(() => client.socket.destroy())),
  ],
] as readonly [string, (client: ReturnType<TestServer['client']>) => void][]) {
  test(`the signal aborts when the client ${how}, without a write`, async () => {
    const left = new Gate();
    await using server = await startServer(async (_, signal) => {
      await untilAborted(signal);
      left.open();
    });
    using client = server.client();
    client.send(GET_STREAM);
    await client.expect(CHUNKED);
    leave(client);
    await left.opened;
  });
}

test('a client that has closed its sending side gets the stream', async () => {
  const ended = new Gate();
  await using server = await startServer(async (sink, signal) => {
    await Promise.race([ended.opened, untilAborted(signal)]);
    sink.write(Buffer.from('late'));
  });
  using client = server.client();
  client.send(GET_STREAM);
  client.socket.end();
  await client.expect(CHUNKED);
  using other = server.client();
  await other.send(GET_PING).expect(golden(200, PING));
  ended.open();
  await client.expect('4\r\nlate\r\n0\r\n\r\n');
  await client.expectEnd();
});

test('the close of the server aborts the signal, and what is queued by then is delivered', async () => {
  await using server = await startServer(async (sink, signal) => {
    sink.write(Buffer.from('first'));
    await untilAborted(signal);
    sink.write(Buffer.from('last'));
  });
  using client = server.client();
  client.send(GET_STREAM);
  await client.expect(`${CHUNKED}5\r\nfirst\r\n`);
  await Promise.all([server.close(), client.expect('4\r\nlast\r\n0\r\n\r\n')]);
  await client.expectEnd();
});

test('the close of the server does not wait for a client that does not read', async () => {
  await using server = await startServer(async (sink, signal) => {
    sink.write(Buffer.alloc(4_000_000));
    await untilAborted(signal);
  });
  using client = server.client();
  client.send(GET_STREAM);
  await client.expect(CHUNKED);
  client.socket.pause();
  const start = performance.now();
  await server.close(60_000);
  assert.ok(performance.now() - start < 30_000);
});

test('queued bytes are counted while the client does not read, and discarded as whole writes', async () => {
  const discarded = new Gate();
  const isResumed = new Gate();
  const piece = Buffer.alloc(1000, 'x');
  await using server = await startServer(async (sink) => {
    for (let i = 0; i < 2000; i++) sink.write(piece);
    assert.ok(sink.queuedBytes >= 2_000_000);
    // the connection has the first bytes
    while (sink.queuedBytes === 2_000_000) await new Promise((resolve) => setImmediate(resolve));
    sink.discard();
    assert.ok(sink.queuedBytes < 200_000, String(sink.queuedBytes));
    sink.write(Buffer.from('the end'));
    discarded.open();
    await isResumed.opened;
  });
  using client = server.client();
  client.send('GET /api/v1/vmm.letters HTTP/1.0\r\n\r\n');
  client.socket.pause();
  await discarded.opened;
  const received: Buffer[] = [];
  client.socket.on('data', (part) => received.push(part)).resume();
  isResumed.open();
  await new Promise((resolve) => client.socket.once('end', resolve));
  const text = Buffer.concat(received).toString();
  const body = text.slice(text.indexOf('\r\n\r\n') + 4);
  assert.match(body, /^x*the end$/);
  assert.equal((body.length - 'the end'.length) % 1000, 0);
  assert.ok(body.length < 1_000_000);
});

test('streams have a limit, and requests are served beyond it', async () => {
  let open = 0;
  await using server = await startServer(async (_, signal) => {
    open += 1;
    await untilAborted(signal);
  });
  await using clients = createCleanupStack();
  const most = Math.min(512, descriptorLimit() / 8);
  for (let i = 0; i < most; i++) {
    const client = clients.use(server.client());
    await client.send(GET_STREAM).expect(CHUNKED);
  }
  using client = server.client();
  client.send(GET_STREAM);
  await client.expectMessages(503, 'vmm.letters failed', 'There are too many streams');
  assert.equal(open, most);
  await client.send(GET_PING).expect(golden(200, PING));
});

test('a handler that fails ends its stream only', async () => {
  await using server = await startServer(async (sink) => {
    sink.write(Buffer.from('a'));
    throw new Error('broken');
  });
  using client = server.client();
  client.send(GET_STREAM);
  await client.expect(`${CHUNKED}1\r\na\r\n0\r\n\r\n`);
  await client.expectEnd();
});
