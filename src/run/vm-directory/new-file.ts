import { rm, writeFile } from 'node:fs/promises';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';

/** Writes a file that does not exist, readable for this user alone. A full disk leaves no part of it. @throws RunError that names it */
export async function writeNewFile(path: string, content: string | Buffer): Promise<void> {
  try {
    await writeFile(path, content, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST'))
      await rm(path, { force: true });
    throw new RunError('start', `${path}: cannot be written: ${reasonOf(error)}`, { cause: error });
  }
}
