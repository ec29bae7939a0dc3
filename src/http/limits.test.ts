// Limits on what clients use of the VMM: descriptors, connections, time.
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import { sendDescriptors } from '../native/descriptor-passing.ts';
import { golden, PING, TempDir, TestServer, type RawClient } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';
const UNFINISHED = 'GET /api/v1/vmm.ping HTTP/1.1\r\nX-Never-Ends: ';

/** A folder of the test: all unit tests run in one process, so only descriptors of its own file count. */
const FOLDER = new TempDir();
const FILE = join(FOLDER.path, 'sent');
writeFileSync(FILE, '');
after(() => FOLDER[Symbol.dispose]());

function openDescriptors(): number {
  const fds = readdirSync('/proc/self/fd');
  return fds.filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === FILE;
    } catch {
      // closed meanwhile
      return false;
    }
  }).length;
}

/** Sends a piece with 200 descriptors. */
async function sendMany(client: RawClient, text: string): Promise<void> {
  const fd = openSync(FILE, 'r');
  try {
    await sendDescriptors(
      client.socket,
      Buffer.from(text),
      Array.from({ length: 200 }, () => fd),
    );
  } finally {
    closeSync(fd);
  }
}

test('descriptors in a head that never ends are bounded, and closed with the refusal', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  // the receiving streams are loaded with the first connection
  await client.send(GET_PING).expect(golden(200, PING));
  await sendMany(client, UNFINISHED);
  for (let i = 0; i < 5; i++) await sendMany(client, 'x');
  await client.expectMessages(400, /^Too many file descriptors/);
  await client.expectEnd();
  // the client sees the end of the connection before the last descriptors are closed
  const end = performance.now() + 10_000;
  while (openDescriptors() > 0) {
    assert.ok(performance.now() < end, `${openDescriptors()} are still open`);
    await new Promise((resolve) => setImmediate(resolve));
  }
});

test('many connections with descriptors in unfinished heads leave descriptors for others', async () => {
  await using server = await TestServer.start();
  const clients = Array.from({ length: 20 }, () => server.client());
  for (const client of clients) await sendMany(client, UNFINISHED);
  using other = server.client();
  await other.send(GET_PING).expect(golden(200, PING));
  assert.ok(openDescriptors() <= 1024, String(openDescriptors()));
  for (const client of clients) client[Symbol.dispose]();
});

test('a request may carry as many descriptors as its networks have queues', async () => {
  await using server = await TestServer.start();
  using client = server.client();
  await sendMany(client, GET_PING);
  await client.expect(golden(200, PING));
});

test('an unfinished head is answered in time; idle connections stay open', async () => {
  await using server = await TestServer.start(undefined, 200);
  using silent = server.client();
  using idle = server.client();
  await idle.send(GET_PING).expect(golden(200, PING));
  using slow = server.client();
  slow.send(UNFINISHED);
  await slow.expectMessages(408, /not whole in time/);
  await slow.expectEnd();
  // a body may take longer
  using typing = server.client();
  typing.send('PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{');
  using second = server.client();
  second.send(UNFINISHED);
  await second.expectMessages(408, /not whole in time/);
  await typing.send('}').expect(golden(204));
  await silent.send(GET_PING).expect(golden(200, PING));
  await idle.send(GET_PING).expect(golden(200, PING));
});

test('of too many connections the oldest without a request is closed; those in use are kept', async () => {
  await using server = await TestServer.start();
  const most = Math.floor(Math.min(1024, descriptorLimit() / 4));
  using used = server.client();
  await used.send(GET_PING).expect(golden(200, PING));
  const silent: RawClient[] = [];
  while (silent.length < most) {
    silent.push(server.client());
    // wait until it is accepted: at most the backlog may be pending
    await used.send(GET_PING).expect(golden(200, PING));
  }
  using late = server.client();
  await late.send(GET_PING).expect(golden(200, PING));
  await silent[0]?.expectEnd();
  await used.send(GET_PING).expect(golden(200, PING));
  for (const client of silent) client[Symbol.dispose]();
});

test('where all connections are in use, a further one gets an error', async () => {
  await using server = await TestServer.start();
  const most = Math.floor(Math.min(1024, descriptorLimit() / 4));
  const clients: RawClient[] = [];
  while (clients.length < most) {
    const client = server.client();
    clients.push(client);
    await client.send(GET_PING).expect(golden(200, PING));
  }
  using late = server.client();
  await late.expectMessages(503, 'There are too many connections');
  await late.expectEnd();
  await clients[0]?.send('PUT /api/v1/vm.boot HTTP/1.1\r\n\r\n').expect(golden(204));
  for (const client of clients) client[Symbol.dispose]();
});
