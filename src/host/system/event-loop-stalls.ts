import { readFileSync } from 'node:fs';

/** How often the event loop's lateness is looked at, in milliseconds. */
const LOOK_MS = 20;

/**
 * Tells, again and again, how long the event loop was held up by one thing, in seconds: how late a timer is, less the time for which
 * this thread was ready to run and had no processor. So a busy host does not look like a slow VMM. Does not keep the process alive.
 */
export function watchStalls(tell: (seconds: number) => void): Disposable {
  let due = performance.now() + LOOK_MS;
  let waited = waitedMs();
  const timer = setInterval(() => {
    const now = performance.now();
    const wait = waitedMs();
    tell(Math.max(0, now - due - (wait - waited)) / 1000);
    waited = wait;
    due = performance.now() + LOOK_MS;
  }, LOOK_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** How long this thread has waited for a processor so far (the kernel's sched-stats.rst); 0 where that is not known. */
function waitedMs(): number {
  try {
    const [, nanoseconds = '0'] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ');
    return Number(nanoseconds) / 1e6;
  } catch {
    return 0;
  }
}
