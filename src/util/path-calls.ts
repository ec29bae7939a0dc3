import type { Stats } from 'node:fs';
import { access, lstat, readdir, realpath, stat } from 'node:fs/promises';
import { beforeDeadline } from './path-deadline.ts';

/*
 * Calls on paths that a user or a client named; they reject as Node's do, and where the file system does not answer.
 */

/** What a path leads to. */
export function statPath(path: string): Promise<Stats> {
  return beforeDeadline(path, () => stat(path));
}

/** What a path itself is: a link is not followed. */
export function lstatPath(path: string): Promise<Stats> {
  return beforeDeadline(path, () => lstat(path));
}

/** A path without links. */
export function resolveLinks(path: string): Promise<string> {
  return beforeDeadline(path, () => realpath(path));
}

/** Rejects where this process has not the rights of `mode` (R_OK, W_OK) to what a path leads to. */
export function checkAccess(path: string, mode: number): Promise<void> {
  return beforeDeadline(path, () => access(path, mode));
}

/** Names of the files in a folder. */
export function listFolder(path: string): Promise<string[]> {
  return beforeDeadline(path, () => readdir(path));
}
