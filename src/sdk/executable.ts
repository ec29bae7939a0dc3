import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { codeOf, reasonOf } from '../util/errno.ts';
import { LaunchError } from './errors.ts';

/**
 * Finds a program as a shell does: by its path, or by its name on the PATH. Returns its path.
 * @throws {LaunchError} with the name, if it cannot be executed
 */
export function findExecutable(executable: string): string {
  if (executable.includes('/')) {
    const reason = problemOf(executable);
    if (reason === undefined) return executable;
    throw new LaunchError(`the VMM did not start: ${executable}: ${reason}`);
  }
  const folders = executable === '' ? [] : (process.env['PATH'] ?? '').split(delimiter);
  const found = folders
    .map((folder) => join(folder, executable))
    .find((path) => problemOf(path) === undefined);
  if (found === undefined)
    throw new LaunchError(`the VMM did not start: ${executable}: not found on the PATH`);
  return found;
}

function problemOf(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return 'is no file';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    const reason = reasonOf(error);
    return codeOf(error) === 'EACCES' ? `is not executable: ${reason}` : reason;
  }
}
