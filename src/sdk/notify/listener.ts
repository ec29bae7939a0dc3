import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { serveAtPath } from '../../native/listening-socket.ts';
import { deferred } from '../../util/deferred.ts';
import { readNotifyMessage, type NotifyMessage } from './message.ts';

/*
 * Messages of the guest's service manager over vsock: its boot, its readiness, its shutdown (systemd.io/VM_INTERFACE,
 * `vmm.notify_socket`). The guest connects to port NOTIFY_PORT of the host for each message, and the back-end of the vsock connects to the
 * UNIX socket of this listener.
 *
 * States: waiting, ready, closed. A guest that restarts stays ready.
 *
 * Invariants: the guest is not trusted. A message has a limit of length and of time, and there is a limit of connections.
 */

/** Port of the host for messages: any that the guest's programs are unlikely to use. */
export const NOTIFY_PORT = 28_272;

/** Value of the system credential `vmm.notify_socket`: CID 2 is the host (vsock(7)). */
export const NOTIFY_ADDRESS = `vsock-stream:2:${NOTIFY_PORT}`;

/** OEM string with the credential for the guest (systemd.io/CREDENTIALS). */
export const NOTIFY_CREDENTIAL = `io.systemd.credential:vmm.notify_socket=${NOTIFY_ADDRESS}`;

/** Length of a message in bytes, as systemd limits it (sd_notify(3): NOTIFY_BUFFER_MAX). */
const MESSAGE_MAX = 4096;

/** Time limit of a message, in milliseconds. */
const MESSAGE_MS = 10_000;

/** Maximum number of connections. */
const CONNECTIONS_MAX = 32;

/** Receives the messages of a guest. */
export interface NotifyListener extends AsyncDisposable {
  /** Settles when the guest has booted (`READY=1`). Never settles otherwise. */
  readonly ready: Promise<undefined>;
  /** Last text about the progress of the boot */
  readonly status: () => string | undefined;
}

/**
 * Listens for the messages of a guest. It must listen before the VM boots.
 * @param vsockPath path of the UNIX socket of the VM's vsock
 * @throws an error that names the path, if it is in use or cannot be made
 */
export async function listenForNotify(
  vsockPath: string,
  onMessage: (message: NotifyMessage) => void = () => undefined,
): Promise<NotifyListener> {
  const { promise: ready, resolve: setReady } = deferred<undefined>();
  let status: string | undefined;
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    receive(socket, (message) => {
      status = message.status ?? status;
      if (message.isReady === true) setReady(undefined);
      if (Object.keys(message).length > 0) onMessage(message);
    });
  });
  server.maxConnections = CONNECTIONS_MAX;
  const { removeFile } = await serveAtPath(server, `${vsockPath}_${NOTIFY_PORT}`, { mode: 0o600 });
  return {
    ready,
    status: () => status,
    [Symbol.asyncDispose]: async () => {
      removeFile();
      for (const socket of sockets) socket.destroy();
      await close(server);
    },
  };
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  await closed;
}

/** Receives one message: the bytes until the guest's end of file. */
function receive(socket: Socket, take: (message: NotifyMessage) => void): void {
  const parts: Buffer[] = [];
  let length = 0;
  const timer = setTimeout(() => socket.destroy(), MESSAGE_MS);
  socket
    .on('error', () => undefined)
    .once('close', () => clearTimeout(timer))
    .on('data', (part: Buffer) => {
      parts.push(part);
      length += part.length;
      if (length > MESSAGE_MAX) socket.destroy();
    })
    .once('end', () => {
      socket.end();
      take(readNotifyMessage(Buffer.concat(parts).toString()));
    });
}
