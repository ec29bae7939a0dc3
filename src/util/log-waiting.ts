import { logDots, logNotice } from './log.ts';

/**
 * Logs that an operation waits for another process, and adds a dot a second where the log is a terminal, until it
 * is disposed of. `target` is the part of the program, as in `createLog`.
 */
export function logWaiting(target: string, text: string): Disposable {
  logNotice(target, `waiting for ${text}`);
  return logDots();
}
