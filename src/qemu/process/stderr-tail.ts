import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { limitLog } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';

/** A guest can cause any number of error messages. */
const log = limitLog(createLog('qemu'), 'messages of QEMU', { most: 50, intervalMs: 10_000 });

/** Length of the tail that is kept for an error message, in characters. */
const TAIL_MAX = 4000;

/**
 * Logs each line of QEMU's standard error. Lines for which `isTrace` returns true are traced events, and are left out.
 * @returns a function that returns the last lines, joined to one
 */
export function collectStderr(stderr: Readable, isTrace: (line: string) => boolean): () => string {
  const decoder = new StringDecoder('utf8');
  let tail = '';
  let line = '';
  stderr.on('data', (bytes: Buffer) => {
    const lines = (line + decoder.write(bytes)).split('\n');
    line = (lines.pop() ?? '').slice(-TAIL_MAX);
    for (const one of lines) {
      if (one.trim() === '' || isTrace(one)) continue;
      tail = `${tail}${one}\n`.slice(-TAIL_MAX);
      log.warn(one);
    }
  });
  return () =>
    `${tail}${line}`
      .split('\n')
      .filter((one) => one.trim() !== '')
      .map((one) => one.replace(/^qemu-system-x86_64: /, ''))
      .join('; ');
}
