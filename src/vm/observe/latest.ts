import { setTimeout as delay } from 'node:timers/promises';

/** A value of QEMU that clients read often. */
export interface Latest<T> {
  /** Returns QEMU's answer, or the last one if it takes too long; undefined if there was none. Never rejects. */
  readonly read: () => Promise<T | undefined>;
}

/** Time limit for QEMU's answer, in milliseconds: QEMU may be busy, stopped or hung. */
const LIMIT_MS = 200;

/** The same for vm.info, in milliseconds. It answers within 50 ms, because Kata Containers counts RAM as missing after longer waits. */
export const INFO_LIMIT_MS = 30;

/** Returns a value that `ask` reads. There is at most one query at a time, even if QEMU does not answer. */
export function createLatest<T>(ask: () => Promise<T>, limitMs = LIMIT_MS): Latest<T> {
  let last: T | undefined;
  let asked: Promise<void> | undefined;
  const update = async (): Promise<void> => {
    try {
      last = await ask();
    } catch {
      // QEMU exits or hangs: the last answer stays
    } finally {
      asked = undefined;
    }
  };
  return {
    read: async () => {
      const end = new AbortController();
      const late = delay(limitMs, undefined, { signal: end.signal, ref: false }).catch(() => undefined);
      await Promise.race([(asked ??= update()), late]);
      end.abort();
      return last;
    },
  };
}
