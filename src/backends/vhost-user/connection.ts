import { libc } from '../../native/libc.ts';
import { checked } from '../../native/system-error.ts';
import { openSocketPair, passCredentials } from '../../native/unix-socket.ts';

/** Command of fcntl(2): duplicates a descriptor, close-on-exec. */
const F_DUPFD_CLOEXEC = 1030;

/** The two ends of a vhost-user connection, both blocking and close-on-exec. */
export interface Connection {
  readonly backEnd: number;
  readonly frontEnd: number;
}

/** Opens a connection. @throws the system's error */
export function openConnection(): Connection {
  const [backEnd, frontEnd] = openSocketPair();
  // QEMU alone gets the other end, so its memory may be accessed
  passCredentials(backEnd);
  return { backEnd, frontEnd };
}

/** Returns a further descriptor of one end. @throws the system's error */
export function copyEnd(fd: number): number {
  return checked('fcntl', libc().fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0));
}
