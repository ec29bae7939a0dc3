import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { listenAtPath } from '../../native/listening-socket.ts';
import { loadLibc } from '../../native/libc.ts';
import { acceptFrom, connectTo } from '../../native/unix-socket.ts';

/** How often a back-end is looked for, in milliseconds: as often as Cloud Hypervisor does. */
const LOOK_MS = 100;

/** Connections to the back-ends of one device, one after the other. */
export interface BackEndConnections extends Disposable {
  /** Waits for a back-end. @returns a non-blocking descriptor; undefined where `signal` ended the wait */
  readonly next: (signal: AbortSignal) => Promise<number | undefined>;
}

/** Back-ends that listen at a path. */
export async function connectToBackEnds(path: string): Promise<BackEndConnections> {
  await loadLibc();
  return {
    next: (signal) => untilOne(() => connectTo(path), signal),
    [Symbol.dispose]: () => undefined,
  };
}

/** Back-ends that connect to a path, at which the VMM listens from now on. Rejects with the reason alone. */
export async function acceptBackEnds(path: string): Promise<BackEndConnections> {
  const { fd, removeFile } = await listenAtPath(path);
  return {
    next: (signal) => untilOne(() => acceptFrom(fd), signal),
    [Symbol.dispose]: () => {
      removeFile();
      closeSync(fd);
    },
  };
}

async function untilOne(look: () => number, signal: AbortSignal): Promise<number | undefined> {
  while (!signal.aborted) {
    const fd = look();
    if (fd >= 0) return fd;
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
