/** A signal that SIGINT, SIGTERM and SIGHUP of this process abort, until it is disposed of. */
export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Takes the signals of this process that interrupt a verb. */
export function interruptSignal(): Interrupt {
  const controller = new AbortController();
  const abort = (signal: NodeJS.Signals): void => controller.abort(new Error(`interrupted by ${signal}`));
  for (const signal of SIGNALS) process.on(signal, abort);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const signal of SIGNALS) process.off(signal, abort);
    },
  };
}
