import { loadLibc } from '../native/libc.ts';
import { hasHangingCalls } from '../util/path-deadline.ts';

/**
 * Ends the process with an exit code. An ordinary exit joins libuv's threads, and would wait forever for a thread that
 * hangs in a file system.
 */
export async function exitWith(code: number): Promise<void> {
  if (hasHangingCalls()) {
    const libc = await loadLibc();
    libc._exit(code);
  }
  process.exit(code);
}
