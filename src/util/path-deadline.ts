/*
 * A call on a file of a dead network mount never returns, and blocks its thread of libuv's pool. The caller's promise rejects
 * after a deadline; further calls on a path that still hangs are refused, so that one dead mount cannot block every thread.
 */

/** Time limit for the answer of a file system, in milliseconds: a disk that spins up takes up to ten seconds. */
const DEADLINE_MS = 10_000;

/** Number of hanging calls at which no further call is started: libuv's pool has eight threads, and one waits for requests. */
const HANGING_MAX = 3;

/** Paths of calls whose deadline has passed and that have not returned. */
const hanging: string[] = [];

/** Number of threads of devices that hang in a call; they are not of libuv's pool. */
let hangingThreads = 0;

/** Counts a thread of a device that hangs in a call. @returns the function to call when it ends */
export function countHangingThread(): () => void {
  hangingThreads++;
  return () => void hangingThreads--;
}

/** Returns whether threads hang in calls: an ordinary exit of the process would never return. */
export function hasHangingCalls(): boolean {
  return hanging.length > 0 || hangingThreads > 0;
}

/** Deadline of calls whose operation is cancelled, in milliseconds. */
const SHORT_DEADLINE_MS = 1000;

/** Sets the deadline of each pending call. */
const pending = new Set<(deadlineMs: number) => void>();

/** Shortens the deadline of every pending call: the VM, or the VMM, shuts down. */
export function shortenPathDeadlines(): void {
  for (const setDeadline of pending) setDeadline(SHORT_DEADLINE_MS);
}

interface Limits<T> {
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** gets a result that arrives after the deadline, and releases it */
  readonly onLate?: (late: T) => void;
}

/**
 * Calls the file system, and rejects after a deadline or when `signal` aborts. Rejects with an error that names the path;
 * `reasonOf` has its reason.
 */
export function beforeDeadline<T>(
  path: string,
  call: () => Promise<T>,
  { deadlineMs = DEADLINE_MS, signal, onLate }: Limits<T> = {},
): Promise<T> {
  if (hanging.includes(path) || hanging.length >= HANGING_MAX) {
    const which = [...new Set(hanging)].join(' and ');
    return Promise.reject(pathError('ETIMEDOUT', `the file system of ${which} still does not answer`, path));
  }
  if (signal?.aborted === true) return Promise.reject(endedWait(path));
  return new Promise((resolve, reject) => {
    let isAbandoned = false;
    const stopWaiting = (): void => {
      clearTimeout(timer);
      pending.delete(startTimer);
      signal?.removeEventListener('abort', abort);
    };
    const abandon = (error: Error): void => {
      isAbandoned = true;
      hanging.push(path);
      stopWaiting();
      reject(error);
    };
    let timer: NodeJS.Timeout | undefined;
    const startTimer = (ms: number): void => {
      clearTimeout(timer);
      const reason = `the file system does not answer within ${ms / 1000} s`;
      timer = setTimeout(() => abandon(pathError('ETIMEDOUT', reason, path)), ms);
    };
    startTimer(deadlineMs);
    pending.add(startTimer);
    const abort = (): void => abandon(endedWait(path));
    signal?.addEventListener('abort', abort);
    const finish = async (): Promise<void> => {
      const result = await settle(call);
      if (isAbandoned) {
        hanging.splice(hanging.indexOf(path), 1);
        if (result.status === 'fulfilled') onLate?.(result.value);
        return;
      }
      stopWaiting();
      if (result.status === 'fulfilled') resolve(result.value);
      else reject(result.reason);
    };
    finish().catch(reject);
  });
}

async function settle<T>(call: () => Promise<T>): Promise<PromiseSettledResult<T>> {
  const [result] = await Promise.allSettled([call()]);
  return result;
}

function endedWait(path: string): Error {
  return pathError('ECANCELED', 'the wait for the file system was ended', path);
}

/** An error in the form of Node's own: `ETIMEDOUT: <reason>, open '<path>'`. */
export function pathError(code: string, reason: string, path: string, cause?: unknown): Error {
  return Object.assign(new Error(`${code}: ${reason}, open '${path}'`, { cause }), {
    code,
    path,
  });
}
