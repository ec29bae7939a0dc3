import type { Native } from './load.ts';
import { AF_UNIX, SOCK_CLOEXEC, socketAddress } from './socket-address.ts';

const SOCK_DGRAM = 2;

/**
 * Asks the kernel whether a process holds the socket at a path. A datagram socket cannot be connected to a stream socket, and
 * the reason of the refusal tells a socket that is held (bound, listening, with a full backlog, of a stopped process) from
 * one that a dead process left. The call never waits, and the process sees nothing of it: a vhost-user back-end, a console or
 * a migration would take a real connection for its client.
 * @returns why no process can be reached; undefined where the socket is held
 * @throws with the reason alone where it cannot be told, or is another kind of socket
 */
export function askForListener({ koffi, libc }: Native, path: string): string | undefined {
  const probe: unknown = libc.func('int socket(int, int, int)')(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (Number(probe) < 0) throw new Error(`no socket can be made (errno ${koffi.errno()})`);
  try {
    const address = socketAddress(path);
    const connected: unknown = libc.func('int connect(int, const void *, unsigned int)')(
      probe,
      address,
      address.length,
    );
    const errno = connected === 0 ? undefined : koffi.errno();
    const { EPROTOTYPE, ECONNREFUSED, ENOENT, EACCES } = koffi.os.errno;
    if (errno === EPROTOTYPE) return undefined;
    if (errno === ECONNREFUSED || errno === ENOENT) return 'nobody listens there';
    if (errno === EACCES) throw new Error('permission denied');
    throw new Error(errno === undefined ? 'is no stream socket' : `cannot be connected to (errno ${errno})`);
  } finally {
    libc.func('int close(int)')(probe);
  }
}
