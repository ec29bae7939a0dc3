import { createLog } from '../util/log.ts';

const log = createLog('main');

/** Ends in order on SIGTERM, SIGINT and SIGHUP; a second signal does not wait any longer. */
export function onEndSignals(end: () => void): void {
  let asked = false;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // by the signal's usual exit code; QEMU dies with us
      if (asked) process.exit(signal === 'SIGINT' ? 130 : 143);
      asked = true;
      log.info(`${signal}: ending`);
      end();
    });
  }
  // a reader that went away is no reason to end a VM
  process.on('SIGPIPE', () => undefined);
}
