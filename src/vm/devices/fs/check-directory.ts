import { constants } from 'node:fs';
import { reasonOf } from '../../../util/errno.ts';
import { checkAccess, statPath } from '../../../util/path-calls.ts';

/** Rejects with an error that names the path where it leads to no directory, or to one that the VMM cannot read. */
export async function checkDirectory(path: string): Promise<void> {
  try {
    const status = await statPath(path);
    if (!status.isDirectory()) throw new Error('not a directory');
    await checkAccess(path, constants.R_OK | constants.X_OK);
  } catch (error) {
    throw new Error(`directory ${path}: ${reasonOf(error)}`, { cause: error });
  }
}
