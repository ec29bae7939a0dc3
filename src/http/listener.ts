import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

import { serveAtPath, type ListeningSocket } from '../native/listening-socket.ts';
import { reasonOf } from '../util/errno.ts';
import { hiddenCause } from '../util/hidden-cause.ts';
import { createLog } from '../util/log.ts';
import { createReadiness, type Readiness } from '../native/readiness.ts';
import { createReceive, type Receive } from '../native/descriptor-passing.ts';
import type { ClientStream } from './connection.ts';
import { ReceivingStream } from './receiving-stream.ts';
import { inBackground } from '../util/background.ts';

const log = createLog('http');

const API_SOCKET = 'the API socket';

/** Address of the API: the path of a socket that is created here, or an inherited listening socket. */
export type ListenAddress = { readonly path: string } | { readonly fd: number };

/** Opens a listener that passes each accepted connection to `onConnection`. Rejects with a message for the user. */
export type OpenListener = (onConnection: (connection: ClientStream) => void) => Promise<Listener>;

/** Accepts connections until it is closed. */
export interface Listener {
  /**
   * Accepts no more and removes the socket file (none with an inherited socket), both before it returns.
   * Settles when the last accepted connection is closed. To be called once.
   */
  readonly close: () => Promise<void>;
}

/** Listens at `address` and passes each accepted connection to `onConnection`. Rejects with a message for the user; its cause is the reason. */
export async function listen(
  address: ListenAddress,
  onConnection: (connection: ReceivingStream) => void,
): Promise<Listener> {
  // a client may send its requests, close its sending side and still wait for the replies;
  // Node must not read: it would close the descriptors that arrive with the bytes
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    receiver ??= createReceiver();
    inBackground('a connection cannot be served', serveConnection(socket, receiver, onConnection));
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

/** Created with the first connection, so that the start does not wait for it. */
async function createReceiver(): Promise<Receiver> {
  return { readiness: await createReadiness(), receive: await createReceive() };
}

/**
 * Lets `server` listen at `address`; rejects with a message for the user. The caller removes the socket's file before it closes
 * the server.
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
        throw new Error(capitalized(reasonOf(error)), hiddenCause(error));
      });
    }
    await listenOn(server, address.fd);
    // the process that bound an inherited socket owns its file
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

/** Messages of the API's replies and of errors at the start begin with a capital letter. */
function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function listenError(where: string, cause: unknown): Error {
  return new Error(`Cannot listen on ${where}`, { cause });
}
