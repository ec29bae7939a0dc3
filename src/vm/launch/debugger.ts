import { closeSync } from 'node:fs';
import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { reasonOf } from '../../util/errno.ts';
import { listenAtPath } from '../../native/listening-socket.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('gdb');

/** Socket of `--gdb`. */
interface DebuggerSocket {
  readonly path: string;
  readonly fd: number;
}

let socket: DebuggerSocket | undefined;

/** Listens on a UNIX socket for a debugger; every QEMU of a VM with `gdb` serves it. Rejects with the path and the reason. */
export async function openDebuggerSocket(path: string): Promise<Disposable> {
  const { fd, removeFile } = await listenAtPath(path, { mode: 0o600 }).catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  });
  socket = { path, fd };
  return {
    [Symbol.dispose]: () => {
      socket = undefined;
      removeFile();
      closeSync(fd);
    },
  };
}

/**
 * Returns the file descriptor of the listening socket for a VM with `gdb`; undefined for any other VM.
 * @throws ApiError `failed` if the VMM was started without `--gdb`
 */
export function debuggerSocketFor({ gdb }: Pick<VmConfig, 'gdb'>): number | undefined {
  if (gdb !== true) return undefined;
  if (socket === undefined) {
    throw new ApiError(
      'failed',
      'gdb: the VMM was started without --gdb path=<path>, the socket for the debugger',
    );
  }
  return socket.fd;
}

/** Logs the debugger command that continues a guest whose vCPUs wait for a debugger. */
export function logDebuggerWait(): void {
  log.warn(
    `the guest waits for a debugger: target remote ${socket?.path ?? ''}, then continue (or resume the VM without one)`,
  );
}
