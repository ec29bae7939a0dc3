import { closeSync } from 'node:fs';
import { loadLibc } from '../../native/libc.ts';

/** Number of the system call io_uring_setup, the same on all architectures. */
const IO_URING_SETUP = 425;
/** Bytes of `struct io_uring_params`. */
const PARAMS_BYTES = 120;

let cached: Promise<boolean> | undefined;

/** Returns whether this process may use io_uring: some kernels lack it, and containers often forbid it. */
export function hasIoUring(): Promise<boolean> {
  cached ??= probe();
  return cached;
}

async function probe(): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const { syscall } = await loadLibc();
  const fd = syscall(IO_URING_SETUP, 1, Buffer.alloc(PARAMS_BYTES));
  if (fd < 0) return false;
  closeSync(fd);
  return true;
}
