import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { CallOptions } from '../client.ts';
import { connectVsock } from '../vsock.ts';
import { ReadyError } from './ready.ts';

/** Port of the SSH server on a guest's vsock (systemd-ssh-generator(8)). */
const SSH_PORT = 22;

/** Time between two attempts to connect, in milliseconds. */
const RETRY_MS = 500;

/**
 * Connects to the SSH server of a guest as soon as one listens. A connection that is made before the start of the guest's driver waits for
 * it. The caller destroys the socket.
 * @throws the reason of the signal
 */
export async function connectWhenListening(vsockPath: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    signal.throwIfAborted();
    const attempt = connectVsock(vsockPath, SSH_PORT);
    try {
      return await abortable(attempt, signal);
    } catch {
      attempt.then((socket) => socket.destroy()).catch(() => undefined);
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new Error('the wait was aborted', { cause: signal.reason }));
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Waits until the SSH server of a guest has sent a byte. @throws ReadyError */
export async function waitForSsh(
  vsockPath: string,
  ended: Promise<unknown>,
  { signal, timeoutMs }: CallOptions,
): Promise<void> {
  const over = new AbortController();
  const limits = [signal, timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)];
  const limit = AbortSignal.any([over.signal, ...limits.filter((one) => one !== undefined)]);
  ended.then(() => over.abort()).catch(() => undefined);
  try {
    for (;;) if (await answers(await connectWhenListening(vsockPath, limit), limit)) return;
  } catch (error) {
    const fault = signal?.aborted === true ? 'aborted' : over.signal.aborted ? 'ended' : 'timeout';
    throw new ReadyError(fault, undefined, { cause: error });
  }
}

/** Returns true if a server sends anything, false if it closes the connection. */
async function answers(socket: Socket, signal: AbortSignal): Promise<boolean> {
  try {
    return await abortable(
      new Promise<boolean>((resolve) => {
        socket
          .once('data', () => resolve(true))
          .once('close', () => resolve(false))
          .once('end', () => resolve(false))
          .on('error', () => undefined);
      }),
      signal,
    );
  } finally {
    socket.destroy();
  }
}
