import type { Amount } from '../host/memory/copy-extents.ts';
import { reasonOf } from '../util/errno.ts';
import type { Log } from '../util/log.ts';

/** Interval of progress lines, in milliseconds. */
const INTERVAL_MS = 1000;

/** Logs the progress of an operation every second, until it is disposed of. */
export function logProgress(log: Log, words: () => string | Promise<string>): Disposable {
  const logLine = async (): Promise<void> => log.info(await words());
  const timer = setInterval(() => {
    logLine().catch((error: unknown) => log.debug(`progress cannot be read: ${reasonOf(error)}`));
  }, INTERVAL_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Returns e.g. `50 % (100 of 200 MiB)`; `total` may still grow. */
export function shownAmount({ done, total }: Amount): string {
  const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
  return `${total === 0 ? 0 : Math.floor((done / total) * 100)} % (${mib(done)} of ${mib(total)} MiB)`;
}
