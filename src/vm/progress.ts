import type { Amount } from '../host/memory/copy-extents.ts';
import { reasonOf } from '../util/errno.ts';
import type { Log } from '../util/log.ts';

/** How often a long operation is told of, in milliseconds. */
const INTERVAL_MS = 1000;

/** Tells in the log how far an operation is, from its second second on, until it is disposed of. */
export function tellProgress(log: Log, words: () => string | Promise<string>): Disposable {
  const tell = async (): Promise<void> => log.info(await words());
  const timer = setInterval(() => {
    tell().catch((error: unknown) => log.debug(`no progress is known: ${reasonOf(error)}`));
  }, INTERVAL_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** `50 % (100 of 200 MiB)`; the whole is what was found until now */
export function shownAmount({ done, total }: Amount): string {
  const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
  return `${total === 0 ? 0 : Math.floor((done / total) * 100)} % (${mib(done)} of ${mib(total)} MiB)`;
}
