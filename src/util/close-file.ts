import type { FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { inBackground } from './background.ts';

/** Longest wait for a close, in milliseconds. */
const CLOSE_MS = 500;

/**
 * Closes a file without a name. Its file system has its space back then, and can be unmounted. The wait is bounded: the space of a large file
 * is freed in the background, and a dead mount does not answer.
 */
export async function closeRemoved(file: Pick<FileHandle, 'close'>): Promise<void> {
  const end = new AbortController();
  const closing = file.close().finally(() => end.abort());
  inBackground('a file could not be closed', closing);
  await Promise.race([closing, delay(CLOSE_MS, undefined, { signal: end.signal })]).catch(() => undefined);
}
