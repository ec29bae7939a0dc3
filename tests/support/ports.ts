/** TCP ports of this host. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** A TCP port on 127.0.0.1 on which this process listens. */
export interface ListeningPort extends AsyncDisposable {
  readonly port: number;
}

/** Listens on a free port of 127.0.0.1. */
export async function listenOnPort(): Promise<ListeningPort> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Returns a port of 127.0.0.1 on which nothing listens. */
export async function freePort(): Promise<number> {
  await using listening = await listenOnPort();
  return listening.port;
}

/** Returns all that a port of this host sends until it closes. Rejects where nothing listens. */
export async function readFromPort(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  let text = '';
  for await (const part of socket) text += String(part);
  return text;
}
