import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

import { serveAtPath, type ListeningSocket } from '../native/listening-socket.ts';
import { reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { createReadiness, type Readiness } from '../native/readiness.ts';
import { createReceive, type Receive } from '../native/descriptor-passing.ts';
import { ReceivingStream } from './receiving-stream.ts';

const log = createLog('http');

const API_SOCKET = 'the API socket';

/** Where the API is served: a socket file that is made here, or a listening socket that was inherited. */
export type ListenAddress = { readonly path: string } | { readonly fd: number };

/** Accepts connections until it is closed. All the HTTP server knows of where its connections come from. */
export interface Listener {
  /**
   * Accepts no more and removes the socket file (none with an inherited socket), both before it returns.
   * The promise is kept when the last accepted connection has gone. To be called once.
   */
  readonly close: () => Promise<void>;
}

/** Listens at `address` and hands on each accepted connection. Rejects with a message fit for the user, the reason as its cause. */
export async function listen(
  address: ListenAddress,
  onConnection: (connection: ReceivingStream) => void,
): Promise<Listener> {
  // A client may send its requests, close its sending side and still wait for the answers.
  // Node must not read: it would close the descriptors that come with the bytes.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    receiver ??= createReceiver();
    void serveConnection(socket, receiver, onConnection);
  });
  let receiver: Promise<Receiver> | undefined;
  const { removeFile } = await startListening(server, address);
  server.on('error', (error) => log.error(`Accepting a connection failed: ${error.message}`));
  return {
    close: async () => {
      removeFile();
      await new Promise((resolve) => server.close(resolve));
      (await receiver)?.readiness.close();
    },
  };
}

async function serveConnection(
  socket: Socket,
  receiver: Promise<Receiver>,
  onConnection: (connection: ReceivingStream) => void,
): Promise<void> {
  try {
    const { readiness, receive } = await receiver;
    if (!socket.destroyed) onConnection(new ReceivingStream(socket, readiness, receive));
  } catch (error) {
    log.error(`A connection cannot be served: ${String(error)}`);
    socket.destroy();
  }
}

interface Receiver {
  readonly readiness: Readiness;
  readonly receive: Receive;
}

/** Made for the first connection: a start without one need not wait for it. */
async function createReceiver(): Promise<Receiver> {
  return { readiness: await createReadiness(), receive: await createReceive() };
}

/**
 * Has `server` listen at `address`; rejects with a message fit for the user. The socket's file stays the caller's to remove,
 * before the server is closed.
 */
export async function startListening(
  server: Server,
  address: ListenAddress,
  what = API_SOCKET,
): Promise<Pick<ListeningSocket, 'removeFile'>> {
  const where = `${what} ${'path' in address ? address.path : `file descriptor ${address.fd}`}`;
  try {
    if ('path' in address) {
      return await serveAtPath(server, address.path).catch((error: unknown) => {
        throw new Error(capitalized(reasonOf(error)));
      });
    }
    await listenOn(server, address.fd);
    // an inherited socket's file is its maker's
    return { removeFile: () => undefined };
  } catch (cause) {
    throw listenError(where, cause);
  }
}

/** Listens on an inherited descriptor. */
async function listenOn(server: Server, fd: number): Promise<void> {
  server.listen({ fd });
  await once(server, 'listening');
  const bound = server.address();
  if (bound === null || typeof bound !== 'object') return;
  server.close();
  throw new Error('It is not a UNIX socket');
}

/** Each message of the API's answers and of the errors at a start is a sentence of its own. */
function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function listenError(where: string, cause: unknown): Error {
  return new Error(`Cannot listen on ${where}`, { cause });
}
