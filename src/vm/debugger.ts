import { listenAt } from '../backends/vsock/unix-socket.ts';
import { ApiError } from '../api/errors.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { makeWayForSocket } from '../host/server-socket.ts';
import { createLog } from '../util/log.ts';

const log = createLog('gdb');

/** The socket that `--gdb` names. */
interface DebuggerSocket {
  readonly path: string;
  readonly fd: number;
}

let socket: DebuggerSocket | undefined;

/** Listens on a UNIX socket for a debugger; every QEMU of a VM with `gdb` serves it. Rejects with the path and the reason. */
export async function openDebuggerSocket(path: string): Promise<Disposable> {
  await makeWayForSocket(path);
  const { fd, close } = listenAt(path);
  socket = { path, fd };
  return {
    [Symbol.dispose]: () => {
      socket = undefined;
      close();
    },
  };
}

/**
 * The listening socket for a VM that is to be debugged; undefined for any other.
 * @throws ApiError `failed` where the VMM has none
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

/** Says how a guest goes on that waits for its debugger. */
export function logWait(): void {
  log.warn(
    `the guest waits for a debugger: target remote ${socket?.path ?? ''}, then continue (or resume the VM without one)`,
  );
}
