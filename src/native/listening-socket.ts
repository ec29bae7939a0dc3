import { chmodSync, closeSync, lstatSync } from 'node:fs';
import { once } from 'node:events';
import type { Server } from 'node:net';
import { libc, loadLibc } from './libc.ts';
import { checkSocketPath, clearSocketPath, ownSocketFile, type SocketFile } from './socket-path.ts';
import { checked } from './system-error.ts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, socketAddress } from './unix-socket.ts';

/** A UNIX socket that is listened on, with its file. */
export interface ListeningSocket {
  /** Non-blocking and close-on-exec. The caller closes it, after `removeFile`. */
  readonly fd: number;
  /** Removes the file, unless another one has its path by now. To be called before `fd` is closed. */
  readonly removeFile: () => void;
}

export interface ListenOptions {
  /** permissions of the file; those that the umask leaves by default */
  readonly mode?: number;
  /** largest number of connections that wait to be accepted */
  readonly backlog?: number;
}

/** Node's own. */
const BACKLOG = 511;

/** Listens at `path` (policy: `socket-path.ts`). Rejects with the reason alone: the caller names the path and its use. */
export async function listenAtPath(path: string, options: ListenOptions = {}): Promise<ListeningSocket> {
  checkSocketPath(path);
  await loadLibc();
  await clearSocketPath(path);
  try {
    return bindAndListen(path, options);
  } catch (error) {
    // another process bound the path first: the error names it, unless it has exited again
    await clearSocketPath(path);
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw error;
    return bindAndListen(path, options);
  }
}

/**
 * Lets a server of Node listen at `path`, as `listenAtPath` does. The server closes the socket; the caller removes the file before.
 * Rejects with the reason alone, and leaves nothing.
 */
export async function serveAtPath(
  server: Server,
  path: string,
  options: ListenOptions = {},
): Promise<Pick<ListeningSocket, 'removeFile'>> {
  const { fd, removeFile } = await listenAtPath(path, options);
  try {
    // Node owns the descriptor from here on, and does not remove the file of a socket that it did not bind
    server.listen({ fd });
    await once(server, 'listening');
    return { removeFile };
  } catch (error) {
    removeFile();
    throw error;
  }
}

function bindAndListen(path: string, options: ListenOptions): ListeningSocket {
  const { socket, bind, listen } = libc();
  const fd = checked('socket', socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  let file: SocketFile | undefined;
  try {
    const address = socketAddress(path);
    checked('bind', bind(fd, address, address.length));
    file = ownSocketFile(path);
    // no client can connect before the call of listen
    if (options.mode !== undefined) chmodSync(path, options.mode);
    checked('listen', listen(fd, options.backlog ?? BACKLOG));
    return { fd, removeFile: file.remove };
  } catch (error) {
    file?.remove();
    closeSync(fd);
    throw error;
  }
}
