import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { listenAtPath } from '../../native/listening-socket.ts';
import { loadLibc } from '../../native/libc.ts';
import { acceptFrom, connectTo } from '../../native/unix-socket.ts';

/** Interval of the attempts to reach a back-end, in milliseconds: that of Cloud Hypervisor. */
const RETRY_MS = 100;

/** Connections to the back-ends of one device, one after the other. */
export interface BackEndConnections extends Disposable {
  /** Waits for a back-end. @returns a non-blocking descriptor; undefined where `signal` cancelled the wait */
  readonly next: (signal: AbortSignal) => Promise<number | undefined>;
}

/** Connects to back-ends that listen at a path. */
export async function connectToBackEnds(path: string): Promise<BackEndConnections> {
  await loadLibc();
  return {
    next: (signal) => untilConnected(() => connectTo(path), signal),
    [Symbol.dispose]: () => undefined,
  };
}

/** Accepts back-ends that connect to a path, at which the VMM listens from now on. Rejects with the reason alone. */
export async function acceptBackEnds(path: string): Promise<BackEndConnections> {
  const { fd, removeFile } = await listenAtPath(path);
  return {
    next: (signal) => untilConnected(() => acceptFrom(fd), signal),
    [Symbol.dispose]: () => {
      removeFile();
      closeSync(fd);
    },
  };
}

async function untilConnected(connect: () => number, signal: AbortSignal): Promise<number | undefined> {
  while (!signal.aborted) {
    const fd = connect();
    if (fd >= 0) return fd;
    await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
