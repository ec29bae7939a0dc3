import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Address of an API socket for clients that support TCP only. */
export interface TcpProxy extends AsyncDisposable {
  /** e.g. `http://127.0.0.1:40123/api/v1` */
  readonly url: string;
}

/** Passes the bytes of connections on a port of this host to a UNIX socket, and back. */
export async function openTcpProxy(path: string): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const api = connect(path);
    for (const [one, other] of [
      [client, api],
      [api, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroySoon();
      });
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port}/api/v1`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
