import { ApiError } from '../api/errors.ts';
import { onAbort, type ShutdownSignals } from '../util/shutdown-signals.ts';

/** An operation on the VM; `signals` abort it when the VM is to be shut down. */
export type Operation<T> = (signals: ShutdownSignals) => Promise<T>;

/** Queue of operations: one runs at a time, in the order of arrival. */
export interface Queue {
  /** Queues an operation. A failure does not affect the operations after it. */
  readonly run: <T>(operation: Operation<T>) => Promise<T>;
  /**
   * Aborts the operations that run or wait, so that the next one runs soon. Their waits for the host are aborted at once. `kill` is
   * called if they have not finished after `grace`. An operation that has not finished after `abandon` rejects, and the next one runs.
   */
  readonly interrupt: (kill: () => void) => void;
  /** Returns true if no operation runs or waits. */
  readonly isIdle: () => boolean;
}

/** Time limits of interrupted operations, in milliseconds; together with the exit of QEMU less than 5 s. */
export interface InterruptTimes {
  /** until QEMU is killed: most operations finish before, and their clients get the usual answer */
  readonly grace: number;
  /** after that, until they are abandoned */
  readonly abandon: number;
}

const TIMES: InterruptTimes = { grace: 1500, abandon: 3000 };

/** Controllers of the signals that an operation gets. */
interface Controllers {
  readonly waits: AbortController;
  readonly kill: AbortController;
  /** aborted when an operation is abandoned */
  readonly abandon: AbortController;
}

/** Returns an empty queue. `cleanUp` is called after each operation, also after a failed one. */
export function createQueue(cleanUp: () => void = () => undefined, times = TIMES): Queue {
  let last: Promise<unknown> = Promise.resolve();
  let controllers = newControllers();
  let open = 0;
  const runNow = async <T>(operation: Operation<T>, own: Controllers): Promise<T> => {
    if (own.kill.signal.aborted) throw interrupted();
    return new Promise<T>((resolve, reject) => {
      const stopListening = onAbort(own.abandon.signal, () => reject(interrupted()));
      const begin = async (): Promise<T> => operation({ waits: own.waits.signal, kill: own.kill.signal });
      begin().finally(cleanUp).finally(stopListening).then(resolve, reject);
    });
  };
  return {
    run: (operation) => {
      const own = controllers;
      open++;
      const result = last.then(() => runNow(operation, own)).finally(() => open--);
      last = result.catch(() => undefined);
      return result;
    },
    isIdle: () => open === 0,
    interrupt: (kill) => {
      const own = controllers;
      controllers = newControllers();
      own.waits.abort(interrupted());
      if (open === 0) return;
      const timers = [
        setTimeout(() => {
          own.kill.abort(interrupted());
          kill();
        }, times.grace),
        setTimeout(() => own.abandon.abort(), times.grace + times.abandon),
      ];
      const clear = (): void => timers.forEach(clearTimeout);
      last.then(clear, clear);
    },
  };
}

function newControllers(): Controllers {
  return { waits: new AbortController(), kill: new AbortController(), abandon: new AbortController() };
}

function interrupted(): ApiError {
  return new ApiError('failed', 'The operation was ended: the VM is to be shut down');
}
