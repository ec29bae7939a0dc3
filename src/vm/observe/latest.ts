import { setTimeout as delay } from 'node:timers/promises';

/** A value of QEMU that clients read often. */
export interface Latest<T> {
  /** Returns QEMU's answer, or the last one where it takes too long; undefined where there was none. Never rejects. */
  readonly read: () => Promise<T | undefined>;
}

/** Longest wait for QEMU's answer, in milliseconds: QEMU may be busy, stopped or hung. */
const PATIENCE_MS = 200;

/** The same for vm.info, in milliseconds. It answers within 50 ms, because Kata Containers counts RAM as missing after longer waits. */
export const INFO_PATIENCE_MS = 30;

/** Returns a value that `ask` reads. Only one query is under way at a time, also where QEMU does not answer. */
export function createLatest<T>(ask: () => Promise<T>, patience = PATIENCE_MS): Latest<T> {
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
      const late = delay(patience, undefined, { signal: end.signal, ref: false }).catch(() => undefined);
      await Promise.race([(asked ??= update()), late]);
      end.abort();
      return last;
    },
  };
}
