import { closeSync } from 'node:fs';
import { loadNative } from '../../native/load.ts';

/** Number of the system call io_uring_setup, the same on all architectures. */
const IO_URING_SETUP = 425;
/** Bytes of `struct io_uring_params`. */
const PARAMS_BYTES = 120;

let answer: Promise<boolean> | undefined;

/** Whether this process may use io_uring: kernels can be built without, and containers often forbid it. */
export function hasIoUring(): Promise<boolean> {
  answer ??= probe();
  return answer;
}

async function probe(): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const { libc } = await loadNative();
  const setup = libc.func('long syscall(long number, unsigned int entries, _Inout_ void *params)');
  const fd = Number(setup(IO_URING_SETUP, 1, Buffer.alloc(PARAMS_BYTES)));
  if (fd < 0) return false;
  closeSync(fd);
  return true;
}
