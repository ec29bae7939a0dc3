import { lstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';

/** Makes a directory of this user with mode 0700, and its parents. @throws RunError for one that another user can read */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    mkdirSync(path, { mode: 0o700, recursive: true });
  } catch (error) {
    throw new RunError('unsafe', `${path}: cannot make the directory: ${reasonOf(error)}`, { cause: error });
  }
  checkPrivateDirectory(path);
}

/** @throws RunError if a path is not a directory that this user alone can read and write; a link is refused */
export function checkPrivateDirectory(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  const fault = faultOf(found);
  if (fault !== undefined)
    throw new RunError('unsafe', `${path} ${fault}: use a directory of your own with mode 0700`);
}

/** Returns true if a path is a directory that this user alone can read and write. */
export function isPrivateDirectory(path: string): boolean {
  return faultOf(lstatSync(path, { throwIfNoEntry: false })) === undefined;
}

function faultOf(found: ReturnType<typeof lstatSync>): string | undefined {
  if (found === undefined) return 'does not exist';
  if (!found.isDirectory()) return 'is not a directory';
  if (found.uid !== process.geteuid?.()) return 'belongs to another user';
  if ((Number(found.mode) & 0o077) !== 0) return 'can be read by other users';
  return undefined;
}
