import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Most connections of a forward at the same time. */
const CONNECTIONS_MAX = 256;

/** Options of a forward. */
export interface ForwardOptions {
  /** Address of this host to listen on; 127.0.0.1 by default */
  readonly address?: string;
}

/** A TCP port of this host that reaches one of the guest. Disposal closes it and its connections. */
export interface Forward extends AsyncDisposable {
  readonly address: string;
  /** Port of this host; the chosen one where 0 was asked for */
  readonly port: number;
}

/**
 * Listens on a port of this host (0: a free one), and connects each client to the guest. A client is disconnected if that fails.
 * @throws the system's error if it cannot listen
 */
export async function startForward(
  connectTcp: () => Promise<Duplex>,
  hostPort: number,
  { address = '127.0.0.1' }: ForwardOptions,
): Promise<Forward> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
    connectTcp()
      .then((guest) => join(socket, guest))
      .catch(() => socket.destroy());
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.listen({ port: hostPort, host: address });
  await once(server, 'listening');
  const bound = server.address();
  return {
    address,
    port: typeof bound === 'object' && bound !== null ? bound.port : hostPort,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

/** Joins two streams: each direction ends alone, and an error or an early close of one ends both. */
function join(socket: Socket, guest: Duplex): void {
  socket.once('close', () => guest.destroy());
  guest.on('error', () => undefined).once('close', () => socket.destroySoon());
  if (socket.destroyed) return void guest.destroy();
  socket.pipe(guest);
  guest.pipe(socket);
}
