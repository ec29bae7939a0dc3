/** A callback that waits until a queue is short enough. */
export interface Drain {
  /** Calls `resume` once, when the queue has at most `most` bytes. A second call replaces the first. */
  readonly wait: (most: number, resume: () => void) => void;
  /** To be called whenever the queue may have become shorter. */
  readonly check: (length: number) => void;
}

/** Creates one without a callback. */
export function createDrain(): Drain {
  let waiting: { readonly most: number; readonly resume: () => void } | undefined;
  return {
    wait: (most, resume) => {
      waiting = { most, resume };
    },
    check: (length) => {
      if (waiting === undefined || length > waiting.most) return;
      const { resume } = waiting;
      waiting = undefined;
      resume();
    },
  };
}
