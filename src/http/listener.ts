import { lstatSync, statSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { dirname } from 'node:path';

import { createLog } from '../util/log.ts';
import { createReadiness, type Readiness } from '../util/readiness.ts';
import { createReceive, type Receive } from './receive.ts';
import { ReceivingStream } from './receiving-stream.ts';

const log = createLog('http');

/** The longest path that fits into a socket address beside its final NUL; the kernel's limit, in bytes. */
const MAX_PATH_BYTES = 107;

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
  if ('path' in address) clearPath(address.path);
  // A client may send its requests, close its sending side and still wait for the answers.
  // Node must not read: it would close the descriptors that come with the bytes.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    receiver ??= createReceiver();
    void serveConnection(socket, receiver, onConnection);
  });
  let receiver: Promise<Receiver> | undefined;
  await startListening(server, address);
  server.on('error', (error) => log.error(`Accepting a connection failed: ${error.message}`));
  return {
    close: async () => {
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

/** Listens at `address`; rejects with a message fit for the user. */
export async function startListening(
  server: Server,
  address: ListenAddress,
  what = API_SOCKET,
): Promise<void> {
  const where = `${what} ${'path' in address ? address.path : `file descriptor ${address.fd}`}`;
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error) => reject(listenError(where, cause));
    server.once('error', fail);
    server.listen(address, () => {
      server.removeListener('error', fail);
      resolve();
    });
  });
  const bound = server.address();
  if (bound !== null && typeof bound === 'object') {
    server.close();
    throw listenError(where, new Error('It is not a UNIX socket'));
  }
}

/**
 * Makes way for a new socket file: a socket left behind by an earlier run is removed, anything else that
 * stands there is the user's and is left alone. Checks what libuv would get wrong: it cuts off long paths
 * in silence, and says "permission denied" where a directory is missing.
 */
export function clearPath(path: string, what = API_SOCKET): void {
  const refuse = (why: string) => listenError(`${what} ${path}`, new Error(why));
  if (path === '' || path.includes('\0')) throw refuse('It is not a path');
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw refuse(`The path has ${bytes} bytes, a socket's can have ${MAX_PATH_BYTES} at most`);
  }
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    throw refuse(`There is no directory ${dirname(path)}`);
  }
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw refuse('Something that is not a socket is there; it was left untouched');
  try {
    unlinkSync(path);
  } catch (error) {
    throw listenError(`${what} ${path}`, error);
  }
}

function listenError(where: string, cause: unknown): Error {
  return new Error(`Cannot listen on ${where}`, { cause });
}
