import type { FileHandle } from 'node:fs/promises';
import { reasonOf } from './errno.ts';
import { createLog } from './log.ts';

const log = createLog('background');

/**
 * Lets work continue for which no caller waits. A rejection is logged, after `subject`; without a handler it would end the process.
 * The linter refuses `void promise` (`typescript/no-floating-promises` with `ignoreVoid: false`).
 */
export function inBackground(subject: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => log.warn(`${subject}: ${reasonOf(error)}`));
}

/** Closes a file for which no caller waits. */
export function closeInBackground(file: Pick<FileHandle, 'close'> | undefined): void {
  if (file !== undefined) inBackground('a file could not be closed', file.close());
}
