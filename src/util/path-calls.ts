import type { Stats } from 'node:fs';
import { access, lstat, readdir, realpath, stat } from 'node:fs/promises';
import { beforeDeadline } from './path-deadline.ts';

/*
 * Calls on paths that a user or a client named. They reject as Node's own do, and where the file system does not answer.
 */

/** Returns the status of the file that a path leads to. */
export function statPath(path: string): Promise<Stats> {
  return beforeDeadline(path, () => stat(path));
}

/** Returns the status of a path itself: a link is not followed. */
export function lstatPath(path: string): Promise<Stats> {
  return beforeDeadline(path, () => lstat(path));
}

/** Returns the path without symbolic links. */
export function resolveLinks(path: string): Promise<string> {
  return beforeDeadline(path, () => realpath(path));
}

/** Rejects where this process lacks the rights of `mode` (R_OK, W_OK) to the file that a path leads to. */
export function checkAccess(path: string, mode: number): Promise<void> {
  return beforeDeadline(path, () => access(path, mode));
}

/** Returns the names of the files in a folder. */
export function listFolder(path: string): Promise<string[]> {
  return beforeDeadline(path, () => readdir(path));
}
