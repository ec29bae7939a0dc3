import { constants } from 'node:fs';
import { isAbsolute } from 'node:path';
import { reasonOf } from '../../../util/errno.ts';
import { checkAccess, statPath } from '../../../util/path-calls.ts';

/** Rejects with an error that names the path where it leads to no directory, or to one that the VMM cannot read. */
export async function checkDirectory(path: string): Promise<void> {
  try {
    const status = await statPath(path);
    if (!status.isDirectory()) throw new Error('not a directory');
    await checkAccess(path, constants.R_OK | constants.X_OK);
  } catch (error) {
    throw new Error(`directory ${path}: ${reasonOf(error)}${hintFor(path)}`, { cause: error });
  }
}

/** Returns where a path is looked up that does not begin with a slash; a shell expands `~` only at the start of a word. */
function hintFor(path: string): string {
  if (isAbsolute(path)) return '';
  const tilde = path.startsWith('~') ? '; ~ is not expanded: write $HOME' : '';
  return ` (relative to the working directory of the VMM, ${process.cwd()}${tilde})`;
}
