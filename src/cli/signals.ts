import { exitWith } from './exit.ts';
import { createLog } from '../util/log.ts';

const log = createLog('main');

/** A parent that dies thread by thread has the kernel signal more than once (prctl(2), PR_SET_PDEATHSIG). */
const ONE_SIGNAL_MS = 200;

/** Ends in order on SIGTERM, SIGINT and SIGHUP; a second signal does not wait any longer. */
export function onEndSignals(end: () => void): void {
  let asked: number | undefined;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (asked !== undefined) {
        if (performance.now() - asked < ONE_SIGNAL_MS) return;
        // by the signal's usual exit code; QEMU dies with us
        void exitWith(signal === 'SIGINT' ? 130 : 143);
      }
      asked = performance.now();
      log.info(`${signal}: ending`);
      end();
    });
  }
  // a reader that went away is no reason to end a VM
  process.on('SIGPIPE', () => undefined);
}
