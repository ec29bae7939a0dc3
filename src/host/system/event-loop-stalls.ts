import { readFileSync } from 'node:fs';

/** Interval of the measurement, in milliseconds. */
const INTERVAL_MS = 20;

/**
 * Reports regularly how long the event loop was blocked, in seconds: how late a timer is, less the time for which this thread was
 * ready to run and had no processor, so that a busy host does not count. The process can exit meanwhile.
 */
export function watchStalls(report: (seconds: number) => void): Disposable {
  let due = performance.now() + INTERVAL_MS;
  let waited = waitedMs();
  const timer = setInterval(() => {
    const now = performance.now();
    const wait = waitedMs();
    report(Math.max(0, now - due - (wait - waited)) / 1000);
    waited = wait;
    due = performance.now() + INTERVAL_MS;
  }, INTERVAL_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Returns how long this thread has waited for a processor so far (the kernel's sched-stats.rst); 0 where the kernel does not report it. */
function waitedMs(): number {
  try {
    const [, nanoseconds = '0'] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ');
    return Number(nanoseconds) / 1e6;
  } catch {
    return 0;
  }
}
