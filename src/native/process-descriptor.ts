import { loadLibc } from './libc.ts';
import { checked } from './system-error.ts';

/**
 * Copies a file descriptor of another process (pidfd_getfd(2)): both have the same open file. The caller closes the copy. Needs the right
 * to trace the process, as the VMM has for its QEMU. Rejects with the system's error.
 */
export async function copyDescriptor(pid: number, fd: number): Promise<number> {
  const { pidfd_open: open, pidfd_getfd: get, close } = await loadLibc();
  const process = checked('pidfd_open', open(pid));
  try {
    return checked('pidfd_getfd', get(process, fd));
  } finally {
    close(process);
  }
}
