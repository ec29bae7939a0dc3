import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { serveAtPath } from '../../native/listening-socket.ts';

/*
 * Connections of other processes to a guest: `guest.sock`, in the protocol of the hybrid vsock (docs/vsock.md). A client sends
 * `CONNECT <port>\n`, the server answers `OK <n>\n`, and the bytes of both follow. A connection that cannot be made is closed without an answer.
 */

/** Port of the SSH server. */
export const SSH_PORT = 22;

/** Longest request, in bytes. */
const REQUEST_BYTES_MAX = 32;

/** Time limit of a request, in milliseconds. */
const REQUEST_MS = 10_000;

/** Most connections at a time. */
const CONNECTIONS_MAX = 256;

/** Bytes of a client that are kept until it is connected. */
const KEPT_BYTES = 65_536;

/** Connects to a port of the guest, until the signal says that the client has left: 22 is the SSH server, any other one TCP on the guest's loopback. */
export type ConnectPort = (port: number, signal: AbortSignal) => Promise<Duplex>;

/** Serves connections at a path until the server is disposed of, which closes them. */
export async function serveGuestSocket(path: string, connect: ConnectPort): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    serveConnection(socket, connect, ++count).catch(() => socket.destroy());
  });
  server.maxConnections = CONNECTIONS_MAX;
  const { removeFile } = await serveAtPath(server, path, { mode: 0o600 });
  return {
    [Symbol.asyncDispose]: async () => {
      removeFile();
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function serveConnection(socket: Socket, connect: ConnectPort, id: number): Promise<void> {
  const left = new AbortController();
  socket.once('close', () => left.abort(new Error('the client has left')));
  const port = await readPort(socket);
  const open = (): Promise<Duplex> => connect(port, left.signal);
  const guest = await (port === SSH_PORT ? connectWhileOpen(socket, open) : open());
  // an error of one direction ends both
  for (const [one, other] of [
    [socket, guest],
    [guest, socket],
  ] as const) {
    one.on('error', () => other.destroy());
  }
  if (socket.destroyed) return void guest.destroy();
  socket.write(`OK ${id}\n`);
  socket.pipe(guest).pipe(socket);
}

/**
 * Connects a client of the SSH server, which may have to wait. One that ends its input meanwhile has left. Its bytes are read, because an end
 * is only seen behind them.
 */
async function connectWhileOpen(socket: Socket, connect: () => Promise<Duplex>): Promise<Duplex> {
  const parts: Buffer[] = [];
  let length = 0;
  const take = (bytes: Buffer): void => {
    parts.push(bytes);
    length += bytes.length;
    if (length >= KEPT_BYTES) socket.pause();
  };
  const leave = (): void => void socket.destroy();
  socket.on('data', take).once('end', leave);
  try {
    return await connect();
  } finally {
    socket.pause();
    socket.off('data', take).off('end', leave);
    if (length > 0 && !socket.destroyed) socket.unshift(Buffer.concat(parts, length));
  }
}

/** Reads the request. Bytes behind it stay in the socket. */
async function readPort(socket: Socket): Promise<number> {
  const signal = AbortSignal.timeout(REQUEST_MS);
  let request = Buffer.alloc(0);
  for (;;) {
    const bytes: unknown = socket.read();
    if (bytes instanceof Buffer) request = Buffer.concat([request, bytes]);
    const end = request.indexOf(10);
    if (end >= 0) {
      socket.unshift(request.subarray(end + 1));
      return portOf(request.toString('latin1', 0, end));
    }
    if (request.length > REQUEST_BYTES_MAX || socket.readableEnded || socket.destroyed)
      throw new Error('the request is not "CONNECT <port>"');
    if (bytes === null) await once(socket, 'readable', { signal });
  }
}

function portOf(line: string): number {
  const port = Number(/^CONNECT (\d{1,5})$/.exec(line)?.[1] ?? '0');
  if (port >= 1 && port <= 65_535) return port;
  throw new Error(`no port of the guest: ${JSON.stringify(line)}`);
}
