import { createServer, type Socket } from 'node:net';
import { closeAll, createReceive } from '../../native/descriptor-passing.ts';
import { serveAtPath } from '../../native/listening-socket.ts';
import { createReadiness } from '../../native/readiness.ts';
import { descriptorOf } from '../../native/unix-socket.ts';
import { deferred } from '../../util/deferred.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import { STREAMS_MESSAGE } from './messages.ts';

/** A client with its standard streams. */
export interface RunClient extends Disposable {
  /** Further messages */
  readonly socket: Socket;
  /** Standard input where the client passes it, standard output, standard error; closed by the disposal */
  readonly fds: readonly number[];
}

/** Time limit of the message with the standard streams, in milliseconds. */
const STREAMS_MS = 10_000;

/** Fewest and most descriptors of a client. */
const [FDS_MIN, FDS_MAX] = [2, 3];

/**
 * Serves a socket for one client. It is removed when the client has connected: later ones find none, and those of the same moment get
 * no answer.
 * @returns undefined on abort, or where the client did not send its streams
 */
export async function receiveClient(
  path: string,
  onListening: () => void,
  signal: AbortSignal,
): Promise<RunClient | undefined> {
  const first = deferred<Socket | undefined>();
  let isTaken = false;
  // Node must not read: it would close the descriptors that arrive with the bytes
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => undefined);
    if (isTaken) return void socket.destroy();
    isTaken = true;
    first.resolve(socket);
  });
  const { removeFile } = await serveAtPath(server, path, { mode: 0o600 });
  const removeHandler = onAbort(signal, () => first.resolve(undefined));
  let socket: Socket | undefined;
  try {
    onListening();
    socket = await first.promise;
  } finally {
    removeHandler();
    removeFile();
    server.close();
  }
  return socket && receiveStreams(socket, signal);
}

/** Receives the standard streams of a client. */
async function receiveStreams(socket: Socket, signal: AbortSignal): Promise<RunClient | undefined> {
  const receive = await createReceive();
  const fd = descriptorOf(socket);
  await untilReadable(fd, AbortSignal.any([signal, AbortSignal.timeout(STREAMS_MS)]));
  const received = receive(fd, STREAMS_MESSAGE.length);
  const fds = received?.fds ?? [];
  const isWhole = received?.isCut === false && received.bytes.equals(STREAMS_MESSAGE);
  if (isWhole && fds.length >= FDS_MIN && fds.length <= FDS_MAX)
    return { socket, fds, [Symbol.dispose]: () => closeAll(fds) };
  closeAll(fds);
  socket.destroy();
  return undefined;
}

/** Waits until a descriptor has bytes or its end, or an abort. */
async function untilReadable(fd: number, signal: AbortSignal): Promise<void> {
  const readiness = await createReadiness();
  const readable = deferred<undefined>();
  const resolve = (): void => readable.resolve(undefined);
  const watch = readiness.watch(fd, resolve);
  const removeHandler = onAbort(signal, resolve);
  try {
    watch.arm();
    await readable.promise;
  } finally {
    removeHandler();
    watch.remove();
    readiness.close();
  }
}
