import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { FsError } from '../errors.ts';

const O_PATH = 0o10_000_000;
const { O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * Opens a regular file in two steps, so that a FIFO or a device that has taken its name meanwhile is never opened. Rejects with FsError
 * with ESTALE where the path is of anything else.
 */
export async function openRegular(path: Buffer, flags: number): Promise<FileHandle> {
  const found = await open(path, O_PATH | O_NOFOLLOW);
  try {
    if (!(await found.stat()).isFile()) throw new FsError('ESTALE');
    return await open(`/proc/self/fd/${found.fd}`, flags | O_NONBLOCK);
  } finally {
    await found.close();
  }
}
