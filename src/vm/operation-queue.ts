import { ApiError } from '../api/errors.ts';
import { onAbort, type ShutdownSignals } from '../util/shutdown-signals.ts';

/** Something that is done to the VM; `signals` tell it that the VM is to be shut down. */
export type Operation<T> = (signals: ShutdownSignals) => Promise<T>;

/** Runs operations one at a time, in the order in which they came. */
export interface Queue {
  /** A failed operation does not hold up the next. */
  readonly run: <T>(operation: Operation<T>) => Promise<T>;
  /**
   * Ends the operations that run or wait, so that the next one gets its turn soon: their waits for the host at once; `kill` is
   * called where they have not ended after a short time, and an operation that does not end even then is left behind.
   */
  readonly interrupt: (kill: () => void) => void;
  /** Whether no operation runs or waits. */
  readonly isIdle: () => boolean;
}

/** How long interrupted operations may take, in milliseconds; together with QEMU's end less than 5 s. */
export interface InterruptTimes {
  /** to end by themselves: most take less, and their clients get the answer that they would have got */
  readonly grace: number;
  /** to end after QEMU was killed */
  readonly abandon: number;
}

const TIMES: InterruptTimes = { grace: 1500, abandon: 3000 };

/** Controllers of the signals that an operation gets. */
interface Ends {
  readonly waits: AbortController;
  readonly kill: AbortController;
  /** aborted where an operation is left behind */
  readonly abandon: AbortController;
}

/** @param tidy is called after each operation, however it ended */
export function createQueue(tidy: () => void = () => undefined, times = TIMES): Queue {
  let last: Promise<unknown> = Promise.resolve();
  let ends = newEnds();
  let open = 0;
  const runNow = async <T>(operation: Operation<T>, own: Ends): Promise<T> => {
    if (own.kill.signal.aborted) throw interrupted();
    return new Promise<T>((resolve, reject) => {
      const stopListening = onAbort(own.abandon.signal, () => reject(interrupted()));
      const begin = async (): Promise<T> => operation({ waits: own.waits.signal, kill: own.kill.signal });
      begin().finally(tidy).finally(stopListening).then(resolve, reject);
    });
  };
  return {
    run: (operation) => {
      const own = ends;
      open++;
      const result = last.then(() => runNow(operation, own)).finally(() => open--);
      last = result.catch(() => undefined);
      return result;
    },
    isIdle: () => open === 0,
    interrupt: (kill) => {
      const own = ends;
      ends = newEnds();
      own.waits.abort(interrupted());
      if (open === 0) return;
      const timers = [
        setTimeout(() => {
          own.kill.abort(interrupted());
          kill();
        }, times.grace),
        setTimeout(() => own.abandon.abort(), times.grace + times.abandon),
      ];
      void last.then(() => timers.forEach(clearTimeout));
    },
  };
}

function newEnds(): Ends {
  return { waits: new AbortController(), kill: new AbortController(), abandon: new AbortController() };
}

function interrupted(): ApiError {
  return new ApiError('failed', 'The operation was ended: the VM is to be shut down');
}
