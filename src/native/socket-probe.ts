import { libc } from './libc.ts';
import { checked, EACCES, ECONNREFUSED, ENOENT, EPROTOTYPE, errno } from './system-error.ts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, socketAddress } from './unix-socket.ts';

/**
 * Asks the kernel whether a process holds the socket at a path. A datagram socket cannot be connected to a stream socket, and
 * the reason of the refusal distinguishes a socket that is held (bound, listening, with a full backlog, of a stopped process)
 * from one of a process that was killed. The call never waits, and the process does not see it: a vhost-user back-end, a console or
 * a migration would take a real connection for its client.
 * @returns the reason why no process can be reached; undefined where the socket is held
 * @throws with the reason alone where the kernel refuses the call, or the socket is of another kind
 */
export function probeSocket(path: string): string | undefined {
  const probe = checked('socket', libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    const address = socketAddress(path);
    const error = libc().connect(probe, address, address.length) < 0 ? errno() : undefined;
    if (error === EPROTOTYPE) return undefined;
    if (error === ECONNREFUSED || error === ENOENT) return 'no process listens there';
    if (error === EACCES) throw new Error('permission denied');
    throw new Error(error === undefined ? 'is no stream socket' : `cannot be connected to (errno ${error})`);
  } finally {
    libc().close(probe);
  }
}
