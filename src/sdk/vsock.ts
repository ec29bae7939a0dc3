import { connect, type Socket } from 'node:net';
import type { CallOptions } from './client.ts';
import { VsockError } from './errors.ts';

/** Maximum length of the answer, a line with a port, in bytes. */
const MAX_ANSWER_BYTES = 32;

/**
 * Connects to a port of the guest through the UNIX socket of its vsock device. Rejects if no program listens on it; without `signal` and
 * `timeoutMs` it waits for a guest whose driver has not started. The socket is half-open: each side ends its own direction with `end()`.
 * @throws {VsockError} on timeout or abort, and if no program listens; else the system's error
 */
export async function connectVsock(
  socketPath: string,
  port: number,
  { signal, timeoutMs }: CallOptions = {},
): Promise<Socket> {
  const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const signals = [signal, limit].filter((one) => one !== undefined);
  const any = AbortSignal.any(signals);
  const fail = (): VsockError => {
    const fault = signal?.aborted === true ? 'aborted' : 'timeout';
    const reason = fault === 'aborted' ? 'aborted' : `no answer within ${timeoutMs} ms`;
    return new VsockError(fault, `${socketPath}: port ${port} of the guest: ${reason}`, {
      cause: any.reason,
    });
  };
  if (any.aborted) throw fail();
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  const abort = (): void => void socket.destroy(fail());
  any.addEventListener('abort', abort, { once: true });
  try {
    await requestPort(socket, socketPath, port);
    return socket;
  } finally {
    any.removeEventListener('abort', abort);
  }
}

function requestPort(socket: Socket, socketPath: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer = Buffer.alloc(0);
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    const refused = (): void =>
      fail(new VsockError('refused', `${socketPath}: no program listens on port ${port} of the guest`));
    const read = (): void => {
      const bytes: unknown = socket.read();
      if (bytes instanceof Buffer) answer = Buffer.concat([answer, bytes]);
      const end = answer.indexOf(10);
      if (end < 0) return answer.length > MAX_ANSWER_BYTES ? refused() : undefined;
      socket.off('readable', read).off('end', refused).off('error', fail);
      if (!/^OK \d+$/.test(answer.toString('latin1', 0, end))) return refused();
      if (end + 1 < answer.length) socket.unshift(answer.subarray(end + 1));
      resolve();
    };
    socket.on('readable', read).once('end', refused).once('error', fail);
    socket.write(`CONNECT ${port}\n`);
  });
}
