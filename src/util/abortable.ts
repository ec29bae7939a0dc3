/** Waits for work, or rejects with the signal's reason. The work itself continues; `onLate` gets its result then, and releases it. */
export function abortable<T>(
  signal: AbortSignal,
  work: Promise<T>,
  onLate?: (late: T) => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isAborted = false;
    const abort = (): void => {
      isAborted = true;
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    work
      .then((result) => {
        resolve(result);
        return isAborted ? onLate?.(result) : undefined;
      }, reject)
      .finally(() => signal.removeEventListener('abort', abort))
      .catch(() => undefined);
    if (signal.aborted) abort();
  });
}

/** Waits for work as `abortable` does, and for `ms` milliseconds more after the signal aborts. */
export function abortableAfter<T>(signal: AbortSignal, ms: number, work: Promise<T>): Promise<T> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const abort = (): void => {
    timer = setTimeout(() => late.abort(signal.reason), ms);
  };
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return abortable(late.signal, work).finally(() => {
    signal.removeEventListener('abort', abort);
    clearTimeout(timer);
  });
}

/** Waits for work for `ms` milliseconds at most, then rejects with an Error. The work itself continues. */
export function beforeLimit<T>(work: Promise<T>, ms: number): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`no end within ${ms / 1000} s`)), ms);
  return abortable(late.signal, work).finally(() => clearTimeout(timer));
}
