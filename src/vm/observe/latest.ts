import { setTimeout as delay } from 'node:timers/promises';

/** Asks QEMU for something that clients look at often. */
export interface Latest<T> {
  /** The answer of now, or the last one where QEMU takes longer than a client is to wait; undefined: there was none yet. */
  readonly read: () => Promise<T | undefined>;
}

/** How long a client waits for QEMU, in milliseconds: it may be busy, stopped or hung. */
const PATIENCE_MS = 200;

/** The same for vm.info, which answers within 50 ms: Kata Containers takes RAM for missing when it waits for long. */
export const INFO_PATIENCE_MS = 30;

/** Never has more than one question open: a QEMU that does not answer is not asked again and again. */
export function createLatest<T>(ask: () => Promise<T>, patience = PATIENCE_MS): Latest<T> {
  let last: T | undefined;
  let asked: Promise<void> | undefined;
  const update = async (): Promise<void> => {
    try {
      last = await ask();
    } catch {
      // a machine that ends at this moment, or a QEMU that hangs: what was known stays
    } finally {
      asked = undefined;
    }
  };
  return {
    read: async () => {
      const end = new AbortController();
      const late = delay(patience, undefined, { signal: end.signal, ref: false }).catch(() => undefined);
      await Promise.race([(asked ??= update()), late]);
      end.abort();
      return last;
    },
  };
}
