/** A bound on what runs at the same time; the others wait in order. */
export interface Slots {
  /** Waits for a slot. Rejects with the signal's reason. @returns a function that frees it; the second call does nothing */
  readonly take: (signal?: AbortSignal) => Promise<() => void>;
  /** Lowers the bound to what runs now without the caller, where there is other work; returns false if there is none */
  readonly shrink: () => boolean;
}

/** Creates slots. */
export function createSlots(most: number): Slots {
  let bound = most;
  let used = 0;
  const waiting = new Set<() => void>();
  const admit = (): void => {
    for (const start of waiting) {
      if (used >= bound) return;
      waiting.delete(start);
      start();
    }
  };
  const occupy = (): (() => void) => {
    used += 1;
    let isFree = false;
    return () => {
      if (isFree) return;
      isFree = true;
      used -= 1;
      admit();
    };
  };
  return {
    take: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason);
        const abort = (): void => {
          waiting.delete(start);
          reject(signal?.reason);
        };
        const start = (): void => {
          signal?.removeEventListener('abort', abort);
          resolve(occupy());
        };
        signal?.addEventListener('abort', abort, { once: true });
        waiting.add(start);
        admit();
      }),
    shrink: () => {
      if (used <= 1) return false;
      bound = used - 1;
      return true;
    },
  };
}
