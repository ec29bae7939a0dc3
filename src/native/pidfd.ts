import { libc } from './libc.ts';
import { checked } from './system-error.ts';

/*
 * Process file descriptors (pidfd_open(2)): they stay those of their process after its exit, when another process may get its ID.
 */

const POLLIN = 1;

/** `struct pollfd`: descriptor, events, returned events */
const POLLFD = Buffer.alloc(8);

/** Opens the descriptor of a process, close-on-exec. @throws the system's error, e.g. ESRCH where there is no such process */
export function openPidfd(pid: number): number {
  return checked('pidfd_open', libc().pidfd_open(pid));
}

/** Returns whether the process of a descriptor has exited. */
export function hasExited(pidfd: number): boolean {
  POLLFD.writeInt32LE(pidfd, 0);
  POLLFD.writeInt32LE(POLLIN, 4);
  return libc().poll(POLLFD, 1, 0) !== 0;
}
