import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { libc } from './libc.ts';
import { callError, checked, EINTR, errno } from './system-error.ts';

/*
 * Stops of a thread of another process, by ptrace(2). A thread that waits in the kernel, e.g. for a disk or a child (state D), stops only
 * when the wait ends: each wait for a stop has a deadline, and the thread is released when it stops later.
 *
 * States of a thread: released, attached (a stop is pending), stopped. Invariant: a thread is detached as soon as it is stopped and not used
 * any more, as only a stopped one can be detached.
 */

const log = createLog('thread');

/** Requests of ptrace(2) (linux/ptrace.h). */
const REQUEST = { detach: 17, seize: 0x4206, interrupt: 0x4207 } as const;

/** PTRACE_O_TRACESYSGOOD: a stop at a system call is distinct from SIGTRAP. */
const MARK_SYSTEM_CALLS = 1;

/** WNOHANG | __WALL of waitpid(2) */
const POLL_ANY_THREAD = 0x4000_0001;

/** Low bits of a status of waitpid(2). */
const STOPPED = 0x7f;

/** Time limit for all stops of a thread together, in milliseconds: each takes microseconds on a quiet host. */
export const STOP_LIMIT_MS = 1000;

/** A thread did not stop in time. It continues as before; see {@link releaseLater}. */
export class ThreadDeadlineError extends Error {
  override readonly name = 'ThreadDeadlineError';

  constructor(thread: number) {
    super(`thread ${thread} did not stop within ${STOP_LIMIT_MS / 1000} s: it waits in the kernel`);
  }
}

/** Stops a thread for use, until `detach`. @throws the system's error, or ThreadDeadlineError */
export function stopThread(thread: number, deadline: number): void {
  attach(thread);
  if (waitForStop(thread, deadline) !== undefined) return;
  releaseLater(thread, () => detach(thread));
  throw new ThreadDeadlineError(thread);
}

/** Stops a thread for a moment, to check that it can be. Does not block. Rejects with the system's error, or ThreadDeadlineError. */
export async function checkStops(thread: number): Promise<void> {
  attach(thread);
  const deadline = performance.now() + STOP_LIMIT_MS;
  while (waitForStop(thread, performance.now()) === undefined) {
    if (performance.now() < deadline) {
      await delay(1);
      continue;
    }
    releaseLater(thread, () => detach(thread));
    throw new ThreadDeadlineError(thread);
  }
  detach(thread);
}

function attach(thread: number): void {
  const { ptrace } = libc();
  checked('ptrace', ptrace(REQUEST.seize, thread, 0, MARK_SYSTEM_CALLS));
  checked('ptrace', ptrace(REQUEST.interrupt, thread, 0, 0));
}

/** Lets a stopped thread continue. That of a process that was killed has ended. */
export function detach(thread: number): void {
  libc().ptrace(REQUEST.detach, thread, 0, 0);
}

/** Polls without a sleep: most threads stop within them. */
const POLLS_AT_ONCE = 100;

/** Interval of later polls, in milliseconds. */
const POLL_MS = 0.05;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Waits until an attached thread has stopped. @returns the signal; undefined after the deadline. @throws Error if it has ended */
export function waitForStop(thread: number, deadline: number): number | undefined {
  for (let polls = 1; ; polls++) {
    const signal = stopSignal(thread);
    if (signal !== undefined) return signal;
    if (polls < POLLS_AT_ONCE) continue;
    if (performance.now() >= deadline) return undefined;
    Atomics.wait(sleeper, 0, 0, POLL_MS);
  }
}

/** Returns the signal with which an attached thread has stopped; undefined while it runs. @throws Error if it has ended */
function stopSignal(thread: number): number | undefined {
  const status = new Int32Array(1);
  let changed: number;
  while ((changed = libc().waitpid(thread, status, POLL_ANY_THREAD)) < 0) {
    const reason = errno();
    if (reason !== EINTR) throw callError('waitpid', reason);
  }
  if (changed === 0) return undefined;
  const [bits = 0] = status;
  if ((bits & 0xff) !== STOPPED) throw new Error(`thread ${thread} has ended`);
  return (bits >> 8) & 0xff;
}

/** Interval at which a late thread is looked at, in milliseconds. */
const LATE_MS = 20;

/** Calls `release` once, when an attached thread has stopped, or has ended. Until then the thread continues as it is. */
export function releaseLater(thread: number, release: () => void): void {
  log.warn(`thread ${thread} waits in the kernel, and is released later`);
  const timer = setInterval(() => {
    try {
      if (stopSignal(thread) === undefined) return;
    } catch (error) {
      log.debug(reasonOf(error));
    }
    clearInterval(timer);
    try {
      release();
    } catch (error) {
      // it has ended
      log.debug(`thread ${thread}: ${reasonOf(error)}`);
    }
  }, LATE_MS).unref();
}
