import { exitWith } from './exit.ts';
import { createLog } from '../util/log.ts';

const log = createLog('main');

/** Signals within this time count as one: the kernel sends one for each thread of a killed parent (PR_SET_PDEATHSIG). */
const ONE_SIGNAL_MS = 200;

/** Calls `end` on SIGTERM, SIGINT and SIGHUP. A second signal exits at once. */
export function onEndSignals(end: () => void): void {
  let asked: number | undefined;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (asked !== undefined) {
        if (performance.now() - asked < ONE_SIGNAL_MS) return;
        // with the usual exit code of the signal; the kernel kills QEMU
        const code = signal === 'SIGINT' ? 130 : 143;
        exitWith(code).catch(() => process.exit(code));
      }
      asked = performance.now();
      log.info(`${signal}: ending`);
      end();
    });
  }
  // a closed reader does not end the VM
  process.on('SIGPIPE', () => undefined);
}
