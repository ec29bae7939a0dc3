import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { startSshServer } from '../../tests/support/ssh-server.ts';
import { connectGuest } from './connect-guest.ts';

test('a connection to a port of the guest is whole in both directions, each of which ends alone', async () => {
  await using server = startSshServer();
  await using guest = await connectGuest(server);
  // answers after the end of its input
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part)).on('end', () => socket.end(Buffer.concat(parts).swap16()));
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const bytes = Buffer.alloc(5_000_000, 'abcdefg');
  const stream = await guest.connectTcp(port);
  stream.end(bytes);
  assert.ok((await buffer(stream)).equals(bytes.swap16()));
  const dropped = await guest.connectTcp(port, 'localhost');
  dropped.destroy();
  listener.close();
  await once(listener, 'close');
  await assert.rejects(guest.connectTcp(port), { fault: 'tcp' });
});
