import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import type { ClientStream } from '../http/connection.ts';
import { startListening, type OpenListener } from '../http/listener.ts';
import { createLog } from '../util/log.ts';

const log = createLog('web');

/** Address of the page, as `--web` names it. Port 0: the kernel chooses one. */
export type WebAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }
  | { readonly fd: number };

/** Address at which the page can be reached. */
export type BoundAddress =
  | { readonly address: string; readonly port: number }
  /** a UNIX socket; an inherited one may have no path */
  | { readonly path: string | undefined };

/** A socket that is listened on. */
export interface WebListener {
  readonly bound: BoundAddress;
  /** Accepts connections; to be called at once, because connections before it are lost. */
  readonly open: OpenListener;
}

/** Listens at an address. Rejects with a message for the user; its cause is the reason. */
export async function listenForWeb(address: WebAddress): Promise<WebListener> {
  // a client may send a request, close its sending side and still wait for the reply
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const { removeFile } = await startServer(server, address);
  server.on('error', (error) => log.error(`Accepting a connection failed: ${error.message}`));
  return {
    bound: boundAddress(server, address),
    open: async (onConnection) => {
      server.on('connection', (socket) => {
        // browsers send no descriptors, and Node closes those that others send
        const takeDescriptors = (): readonly number[] => [];
        // a browser that closes its sending side has closed the page
        const closeOnHangup = (): void => void socket.once('end', () => socket.destroy());
        onConnection(Object.assign(socket, { takeDescriptors, closeOnHangup }) satisfies ClientStream);
      });
      const close = async (): Promise<void> => {
        removeFile();
        await new Promise((resolve) => server.close(resolve));
      };
      return { close };
    },
  };
}

async function startServer(
  server: Server,
  address: WebAddress,
): Promise<{ readonly removeFile: () => void }> {
  if ('path' in address) return startListening(server, address, 'the web socket');
  try {
    server.listen('fd' in address ? { fd: address.fd } : address);
    await once(server, 'listening');
    return { removeFile: () => undefined };
  } catch (cause) {
    const where = 'fd' in address ? `file descriptor ${address.fd}` : `${address.host} port ${address.port}`;
    throw new Error(`Cannot listen on ${where}`, { cause });
  }
}

function boundAddress(server: Server, address: WebAddress): BoundAddress {
  const bound: AddressInfo | string | null = server.address();
  if (bound !== null && typeof bound === 'object') return { address: bound.address, port: bound.port };
  return { path: 'path' in address ? address.path : (bound ?? undefined) };
}
