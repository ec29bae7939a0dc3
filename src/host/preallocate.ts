import { constants } from 'node:fs';
import { systemError } from '../util/errno.ts';
import { loadNative } from '../util/native.ts';
import { openFile } from '../util/open-file.ts';
import { beforeDeadline } from '../util/path-deadline.ts';

/** How long a file system may take to allocate the blocks of a file, in milliseconds. */
const DEADLINE_MS = 60_000;

/**
 * Allocates all blocks of a file (fallocate(2)); what it holds stays as it is. Rejects with the reason: not every file
 * system can do this, and a full one cannot.
 */
export async function preallocate(path: string, signal: AbortSignal): Promise<void> {
  await using file = await openFile(path, { flags: constants.O_RDWR, kinds: ['file'], signal });
  const { size } = await file.stat();
  if (size === 0) return;
  await beforeDeadline(path, () => allocate(file.fd, size), { deadlineMs: DEADLINE_MS, signal });
}

/** A large file takes seconds: the call is made on a thread of koffi's. */
async function allocate(fd: number, bytes: number): Promise<void> {
  const { koffi, libc } = await loadNative();
  const fallocate = libc.func('int fallocate(int, int, int64_t, int64_t)');
  await new Promise<void>((resolve, reject) => {
    fallocate.async(fd, 0, 0, bytes, (error: unknown, result: unknown) => {
      if (error === null && result === 0) resolve();
      else reject(error instanceof Error ? error : systemError('fallocate', koffi.errno()));
    });
  });
}
