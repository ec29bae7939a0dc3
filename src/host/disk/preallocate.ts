import { constants } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { loadLibc } from '../../native/libc.ts';
import { callError } from '../../native/system-error.ts';
import { openFile } from '../../util/open-file.ts';
import { beforeDeadline, pathError } from '../../util/path-deadline.ts';
import { closeInBackground } from '../../util/background.ts';

/** Time limit for the allocation of the blocks of a file, in milliseconds. */
const DEADLINE_MS = 60_000;

/**
 * Allocates all blocks of a file (fallocate(2)); its content is unchanged. Rejects with the reason, e.g. that the file system is
 * full or does not support the call.
 */
export async function preallocate(path: string, signal: AbortSignal): Promise<void> {
  const file = await openFile(path, { flags: constants.O_RDWR, kinds: ['file'], signal });
  let allocation = Promise.resolve();
  try {
    const { size, blocks } = await file.stat();
    if (size === 0) return;
    await checkSpace(path, size - blocks * STAT_BLOCK, signal);
    const call = (): Promise<void> => (allocation = allocate(file.fd, size));
    await beforeDeadline(path, call, { deadlineMs: DEADLINE_MS, signal });
  } finally {
    // a call that still runs after its deadline uses the descriptor: another file must not get its number
    closeInBackground({ close: () => allocation.catch(() => undefined).then(() => file.close()) });
  }
}

/** Unit of a file's `blocks`, in bytes. */
const STAT_BLOCK = 512;

/** Rejects where a file system lacks the space: ext4 and XFS would first allocate all that is free, then fail. */
async function checkSpace(path: string, needed: number, signal: AbortSignal): Promise<void> {
  const { blocks, bavail, bsize } = await beforeDeadline(path, () => statfs(path), { signal });
  const free = bavail * bsize;
  // some file systems do not report their size
  if (blocks === 0 || needed <= free) return;
  throw pathError('ENOSPC', `it needs ${needed} bytes more, and ${free} are free on its file system`, path);
}

/** Calls fallocate(2) on a thread of koffi: a large file takes seconds. */
async function allocate(fd: number, bytes: number): Promise<void> {
  const { fallocate } = await loadLibc();
  await new Promise<void>((resolve, reject) => {
    fallocate.async(fd, 0, 0, bytes, (error: unknown, result: unknown) => {
      if (error === null && result === 0) resolve();
      else reject(error instanceof Error ? error : callError('fallocate'));
    });
  });
}
