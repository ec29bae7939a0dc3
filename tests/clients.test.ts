// Many clients, and clients that never finish their requests.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { guestConfig } from './support/guest.ts';
import { descriptorsOf } from './support/processes.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const CLIENTS = 64;
const REQUESTS_EACH = 50;

test('64 clients are served while 64 others never finish their request', async () => {
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.create', guestConfig({})), 204);
  assert.equal(statSync(vmm.socket).mode & 0o077, 0, 'the API is its owner’s alone');
  const before = descriptorsOf(vmm.pid);
  const slow = await Promise.all(Array.from({ length: CLIENTS }, () => openSlow(vmm.socket)));
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const served = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      let state = '';
      for (let i = 0; i < REQUESTS_EACH; i++) {
        // all at the same time: the slow clients send their next bytes meanwhile
        slow[client]?.write('x');
        state = await get(vmm.socket, agent, i % 2 === 0 ? 'vmm.ping' : 'vm.info');
      }
      return state;
    }),
  );
  for (const answer of served) assert.match(answer, /"state":"Created"/);
  agent.destroy();
  for (const socket of slow) socket.destroy();
  // the test's own first connections may be among those before
  await until('all connections are closed', () => descriptorsOf(vmm.pid).length <= before.length);
});

test('a request that is sent byte by byte is answered', async () => {
  await using vmm = await startVmm();
  const socket = connect(vmm.socket);
  await once(socket, 'connect');
  let answer = '';
  socket.on('data', (bytes: Buffer) => (answer += bytes.toString('latin1')));
  for (const byte of 'GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\n\r\n') {
    socket.write(byte);
    await new Promise(setImmediate);
  }
  await until(
    'it is answered',
    () => answer.includes('"version"'),
    () => answer,
  );
  socket.destroy();
});

async function openSlow(path: string): Promise<Socket> {
  const socket = connect(path);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write('PUT /api/v1/vm.boot HTTP/1.1\r\nX-Never-Ends: ');
  return socket;
}

/** Sends a GET on one of the agent's connections; returns the body. */
function get(socketPath: string, agent: Agent, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, agent, path: `/api/v1/${name}` }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (part: string) => (text += part));
      incoming.on('end', () => resolve(text));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
