import { loadNative } from '../util/native.ts';
import {
  AF_UNIX,
  checkPathLength,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socketAddress,
} from '../util/socket-address.ts';

/** A connection whose descriptor another process is given. */
export interface Connection {
  readonly fd: number;
  readonly close: () => void;
}

/** Connects to a UNIX socket without waiting. Rejects with the path and the reason. */
export async function connectSocket(path: string): Promise<Connection> {
  checkPathLength(path);
  const { koffi, libc } = await loadNative();
  const close = libc.func('int close(int)');
  const fd = Number(
    libc.func('int socket(int, int, int)')(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
  );
  if (fd < 0) throw new Error(`${path}: no socket could be made (errno ${koffi.errno()})`);
  const address = socketAddress(path);
  const connected: unknown = libc.func('int connect(int, const void *, unsigned int)')(
    fd,
    address,
    address.length,
  );
  if (connected === 0) return { fd, close: () => void close(fd) };
  const errno = koffi.errno();
  close(fd);
  throw new Error(
    `${path}: ${reasons(koffi.os.errno).get(errno) ?? `cannot be connected to (errno ${errno})`}`,
  );
}

function reasons(errno: Readonly<Record<string, number>>): ReadonlyMap<number | undefined, string> {
  return new Map([
    [errno['ENOENT'], 'No such file or directory'],
    [errno['ECONNREFUSED'], 'nobody listens there'],
    [errno['EACCES'], 'Permission denied'],
    [errno['EAGAIN'], 'is busy with other connections'],
    [errno['EPROTOTYPE'], 'is no stream socket'],
    [errno['ENOTSOCK'], 'is not a socket'],
  ]);
}
