import { codeOf, reasonOf } from '../util/errno.ts';

/**
 * Reports output that cannot be written, e.g. to a full disk: one line on standard error after `prefix`, and exit code `code` instead
 * of 0. A reader that closes early (`nephos ps | head -1`) is no error.
 */
export function reportOutputErrors(prefix: string, code = 1): void {
  let isReported = false;
  process.stdout.on('error', (error) => {
    if (isReported || codeOf(error) === 'EPIPE') return;
    isReported = true;
    process.stderr.write(`${prefix}standard output: ${reasonOf(error)}\n`);
    process.on('exit', (given) => {
      if (given === 0) process.exitCode = code;
    });
  });
  // an error that cannot be reported has its exit code
  process.stderr.on('error', () => undefined);
}
