import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { loadLibc } from '../../native/libc.ts';
import { probeSocket } from '../../native/socket-probe.ts';
import { checkPathLength } from '../../native/unix-socket.ts';
import { statPath } from '../../util/path-calls.ts';

/** Deadline for a back-end to create its socket, and interval of the checks, in milliseconds: those of Cloud Hypervisor. */
const DEADLINE_MS = 60_000;
const RETRY_MS = 100;

interface WaitOptions {
  /** cancels the wait */
  readonly signal: AbortSignal;
  /** in milliseconds */
  readonly deadlineMs?: number;
  /** Called when a wait begins, with the reason; its result is disposed of when the wait ends. */
  readonly onWait?: (text: string) => Disposable;
}

/**
 * Waits until a back-end listens on a UNIX socket, without connecting: many back-ends serve one client and exit
 * with it.
 * Rejects with the path and the reason after the deadline or when the signal is aborted, and at once where waiting
 * cannot help (the path is no socket, or may not be used).
 */
export async function waitForListener(
  path: string,
  { signal, deadlineMs = DEADLINE_MS, onWait }: WaitOptions,
): Promise<void> {
  checkPathLength(path);
  await loadLibc();
  const check = async (): Promise<string | undefined> => (await whyMissing(path)) ?? whyNotListening(path);
  let missing = await check();
  if (missing === undefined) return;
  const end = performance.now() + deadlineMs;
  using _waiting = onWait?.(`${path}: ${missing} yet (${deadlineMs / 1000} s at most)`);
  while (missing !== undefined) {
    if (performance.now() >= end)
      throw new Error(`${path}: ${missing} (waited ${deadlineMs / 1000} s for it)`);
    const reason = missing;
    await delay(RETRY_MS, undefined, { signal }).catch((cause: unknown) => {
      throw new Error(`${path}: ${reason}; the wait for it was ended`, { cause });
    });
    missing = await check();
  }
  // a new socket may be bound and not listened on yet
  await delay(RETRY_MS);
}

/** @returns the reason why the socket cannot be reached, with the path where waiting cannot help */
function whyNotListening(path: string): string | undefined {
  try {
    return probeSocket(path);
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** @returns the reason to continue waiting; undefined where there is a socket */
async function whyMissing(path: string): Promise<string | undefined> {
  try {
    if ((await statPath(path)).isSocket()) return undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'no such socket';
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
  throw new Error(`${path}: is not a socket`);
}
