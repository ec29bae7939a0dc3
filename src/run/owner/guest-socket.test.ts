import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { until } from '../../../tests/support/wait.ts';
import { deferred } from '../../util/deferred.ts';
import { serveGuestSocket, SSH_PORT, type ConnectPort } from './guest-socket.ts';

const folder = mkdtempSync(join(tmpdir(), 'guest-socket-'));
after(() => rmSync(folder, { recursive: true }));

let count = 0;

/** Serves a socket whose connections the test completes, and returns a client of it. */
async function openClient(connectPort: ConnectPort): Promise<AsyncDisposable & { readonly client: Socket }> {
  const path = join(folder, `${++count}.sock`);
  const server = await serveGuestSocket(path, connectPort);
  const client = connect({ path, allowHalfOpen: true });
  client.on('error', () => undefined);
  await once(client, 'connect');
  return {
    client,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

test('bytes of a client that waits for its connection arrive in their order', async () => {
  const opened = deferred<Duplex>();
  await using socket = await openClient(() => opened.promise);
  const { client } = socket;
  client.write(`CONNECT ${SSH_PORT}\nfirst `);
  client.write('second ');
  await new Promise((done) => client.write('third ', done));
  // an echo
  opened.resolve(new PassThrough());
  client.end('last');
  let received = '';
  client.on('data', (bytes: Buffer) => (received += bytes.toString()));
  await once(client, 'end');
  assert.equal(received, 'OK 1\nfirst second third last');
});

for (const [name, leave] of [
  ['ends its input', (client: Socket) => client.end()],
  ['closes', (client: Socket) => client.destroy()],
] as const)
  test(`a client that ${name} while it waits for the SSH server has left`, async () => {
    let left: AbortSignal | undefined;
    const connectPort: ConnectPort = (_port, signal) => {
      left = signal;
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    await using socket = await openClient(connectPort);
    socket.client.write(`CONNECT ${SSH_PORT}\nSSH-2.0-x\r\n`);
    await until('it waits', () => left !== undefined);
    leave(socket.client);
    await until('the signal tells it', () => left?.aborted === true);
  });

test('a client that closes has left when the guest sends further bytes', async () => {
  let left: AbortSignal | undefined;
  const guest = new Duplex({ read: () => undefined, write: (_bytes, _encoding, done) => done() });
  await using socket = await openClient((_port, signal) => {
    left = signal;
    return Promise.resolve(guest);
  });
  socket.client.write(`CONNECT ${SSH_PORT}\nSSH-2.0-x\r\n`);
  await until('it is connected', () => left !== undefined);
  socket.client.destroy();
  await until('the signal tells it', () => {
    if (!guest.destroyed) guest.push('bytes');
    return left?.aborted === true;
  });
});
