import { loadLibc } from './libc.ts';
import { checked } from './system-error.ts';

/** Command of fcntl(2): a new descriptor that programs which are started do not inherit. */
const F_DUPFD_CLOEXEC = 1030;

/** A descriptor of its own for an open file; disposing of it closes it. */
export interface Duplicate extends Disposable {
  readonly fd: number;
}

/**
 * Duplicates a file descriptor. Calls that are made with its number, not through a handle, are safe where the owner of the first one
 * closes it meanwhile. Rejects with the system's error.
 */
export async function duplicate({ fd }: { readonly fd: number }): Promise<Duplicate> {
  const { fcntl, close } = await loadLibc();
  const own = checked('fcntl', fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0));
  return { fd: own, [Symbol.dispose]: () => void close(own) };
}
