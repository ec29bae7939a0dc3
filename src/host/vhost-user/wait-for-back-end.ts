import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { loadLibc } from '../../native/libc.ts';
import { probeSocket } from '../../native/socket-probe.ts';
import { checkPathLength } from '../../native/unix-socket.ts';
import { statPath } from '../../util/path-calls.ts';

/** How long a back-end gets to make its socket, and how often it is looked for, in milliseconds: the original's. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 100;

interface WaitOptions {
  /** ends the wait */
  readonly signal: AbortSignal;
  /** in milliseconds */
  readonly patience?: number;
  /** Called when a wait begins, with what is missing; its result is disposed of when the wait ends. */
  readonly onWait?: (text: string) => Disposable;
}

/**
 * Waits until a back-end listens on a UNIX socket, without connecting: many back-ends serve one client and end
 * with it.
 * Rejects with the path and the reason where the time is over or the signal ends it, and at once where waiting
 * cannot help (no socket, no right to use it).
 */
export async function waitForListener(
  path: string,
  { signal, patience = PATIENCE_MS, onWait }: WaitOptions,
): Promise<void> {
  checkPathLength(path);
  await loadLibc();
  const look = async (): Promise<string | undefined> => (await whatIsWrong(path)) ?? whyUnheard(path);
  let missing = await look();
  if (missing === undefined) return;
  const end = performance.now() + patience;
  using _waiting = onWait?.(`${path}: ${missing} yet (${patience / 1000} s at most)`);
  while (missing !== undefined) {
    if (performance.now() >= end) throw new Error(`${path}: ${missing} (waited ${patience / 1000} s for it)`);
    const reason = missing;
    await delay(LOOK_MS, undefined, { signal }).catch((cause: unknown) => {
      throw new Error(`${path}: ${reason}; the wait for it was ended`, { cause });
    });
    missing = await look();
  }
  // a socket that has only just come may be bound and not listened on yet
  await delay(LOOK_MS);
}

/** @returns why the socket cannot be reached, with the path where waiting cannot help */
function whyUnheard(path: string): string | undefined {
  try {
    return probeSocket(path);
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** @returns why to wait on; undefined where there is a socket */
async function whatIsWrong(path: string): Promise<string | undefined> {
  try {
    if ((await statPath(path)).isSocket()) return undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'no such socket';
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
  throw new Error(`${path}: is not a socket`);
}
