import { closeSync } from 'node:fs';
import { loadNative, type Native } from './load.ts';
import {
  AF_UNIX,
  checkPathLength,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socketAddress,
} from './socket-address.ts';

/** A connection whose descriptor another process is given. */
export interface Connection {
  readonly fd: number;
  readonly close: () => void;
}

/** Connects to a UNIX socket without waiting. Rejects with the path and the reason. */
export async function connectSocket(path: string): Promise<Connection> {
  checkPathLength(path);
  const native = await loadNative();
  const fd = connectNow(native, path);
  if (fd >= 0) return { fd, close: () => closeSync(fd) };
  const reason = reasons(native.koffi.os.errno).get(-fd) ?? `cannot be connected to (errno ${-fd})`;
  throw new Error(`${path}: ${reason}`);
}

/** Connects to a UNIX socket without waiting. @returns a non-blocking descriptor, or the negative errno */
export function connectNow({ koffi, libc }: Native, path: string): number {
  const type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = Number(libc.func('int socket(int, int, int)')(AF_UNIX, type, 0));
  if (fd < 0) return -koffi.errno();
  const address = socketAddress(path);
  const connect = libc.func('int connect(int, const void *, unsigned int)');
  if (Number(connect(fd, address, address.length)) === 0) return fd;
  const errno = koffi.errno();
  closeSync(fd);
  return -errno;
}

function reasons(errno: Readonly<Record<string, number>>): ReadonlyMap<number | undefined, string> {
  return new Map([
    [errno['ENOENT'], 'No such file or directory'],
    [errno['ECONNREFUSED'], 'nobody listens there'],
    [errno['EACCES'], 'Permission denied'],
    [errno['EMFILE'], 'this process has no file descriptors left'],
    [errno['EAGAIN'], 'is busy with other connections'],
    [errno['EPROTOTYPE'], 'is no stream socket'],
    [errno['ENOTSOCK'], 'is not a socket'],
  ]);
}
