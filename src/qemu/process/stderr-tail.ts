import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { limitLog } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';

/** Guests can make QEMU complain without end. */
const log = limitLog(createLog('qemu'), 'complaints of QEMU', { most: 50, intervalMs: 10_000 });

/** How much of QEMU's standard error is kept for an error message, in characters. */
const KEPT = 4000;

/**
 * Collects what QEMU writes to standard error; each line also goes to the log as it comes. A line that `isTrace` takes is
 * none of its words.
 */
export function collectStderr(stderr: Readable, isTrace: (line: string) => boolean): () => string {
  const decoder = new StringDecoder('utf8');
  let words = '';
  let line = '';
  stderr.on('data', (bytes: Buffer) => {
    const lines = (line + decoder.write(bytes)).split('\n');
    line = (lines.pop() ?? '').slice(-KEPT);
    for (const one of lines) {
      if (one.trim() === '' || isTrace(one)) continue;
      words = `${words}${one}\n`.slice(-KEPT);
      log.warn(one);
    }
  });
  return () =>
    `${words}${line}`
      .split('\n')
      .filter((one) => one.trim() !== '')
      .map((one) => one.replace(/^qemu-system-x86_64: /, ''))
      .join('; ');
}
