/*
 * A call on a file of a dead network mount does not come back, and its thread of libuv's pool with it. The caller is told
 * after a deadline; a path that still hangs is not asked again, so that one dead mount cannot take every thread.
 */

/** How long a file system may take to answer, in milliseconds: a disk that spins up takes up to ten seconds. */
const DEADLINE_MS = 10_000;

/** How many calls may hang before none is started any more: libuv's pool has eight threads, and one waits for requests. */
const HANGING_MAX = 3;

/** Calls whose deadline has passed and that have not come back. */
const hanging: string[] = [];

/** Whether threads hang in calls: an ordinary exit would wait for them for ever. */
export function hasHangingCalls(): boolean {
  return hanging.length > 0;
}

/** How long calls may still take when the operation that waits for them is to end, in milliseconds. */
const HURRY_MS = 1000;

/** What gives up each call that is waited for. */
const waiting = new Set<(deadlineMs: number) => void>();

/** Shortens the deadline of every call that is waited for: the VM, or the VMM, is to end. */
export function shortenPathDeadlines(): void {
  for (const hurry of waiting) hurry(HURRY_MS);
}

interface Limits<T> {
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** takes a result that comes when no caller waits for it any longer */
  readonly onLate?: (late: T) => void;
}

/**
 * Calls the file system and gives up after a deadline, or when `signal` aborts. Rejects with an error that names the path;
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
      waiting.delete(startTimer);
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
    waiting.add(startTimer);
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
    void finish();
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
