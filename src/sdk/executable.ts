import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { codeOf, reasonOf } from '../util/errno.ts';
import { LaunchError } from './errors.ts';

/**
 * Finds a program as a shell does: by its path, or on the PATH where it is a name alone.
 * @throws {LaunchError} naming it, where it cannot be executed
 */
export function findExecutable(executable: string): string {
  if (executable.includes('/')) {
    const reason = whatIsWrong(executable);
    if (reason === undefined) return executable;
    throw new LaunchError(`the VMM did not start: ${executable}: ${reason}`);
  }
  const folders = executable === '' ? [] : (process.env['PATH'] ?? '').split(delimiter);
  const found = folders
    .map((folder) => join(folder, executable))
    .find((path) => whatIsWrong(path) === undefined);
  if (found === undefined)
    throw new LaunchError(`the VMM did not start: ${executable}: not found on the PATH`);
  return found;
}

function whatIsWrong(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return 'is no file';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    const reason = reasonOf(error);
    return codeOf(error) === 'EACCES' ? `is not executable: ${reason}` : reason;
  }
}
