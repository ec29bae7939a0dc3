import { lstat, mkdir, realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { beforeDeadline } from '../../util/path-deadline.ts';

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const PERMISSIONS = 0o777;
const PRIVATE = 0o700;

/**
 * Checks that only this user can create files in a folder, and creates it where it is missing: it belongs to this user, has mode
 * 0700 and is no link, and no other user can rename one of the folders above it.
 * Rejects with the path and the reason otherwise.
 */
export async function claimPrivateFolder(path: string): Promise<void> {
  const folder = resolve(path);
  for (const parent of parentsOf(folder)) await checkParent(parent);
  const { mode, uid, isDirectory } = await statOrCreate(folder);
  if (!isDirectory) throw unusable(folder, 'is a link or no folder');
  if (uid !== userId()) throw unusable(folder, `belongs to user ${uid}`);
  if ((mode & PERMISSIONS) !== PRIVATE) throw unusable(folder, `has mode ${octal(mode)}, not 0700`);
}

/** Returns every folder above a path, from the root on. */
function parentsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [] : [...parentsOf(parent), parent];
}

/** Checks that only root and this user can rename or replace a folder and files of this user in it. */
async function checkParent(path: string): Promise<void> {
  const { mode, uid, isLink, isDirectory } = await statOrCreate(path);
  if (uid !== 0 && uid !== userId()) throw unusable(path, `belongs to user ${uid}`);
  if (isLink) return checkTarget(path);
  if (!isDirectory) throw unusable(path, 'is no folder');
  if ((mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0) {
    throw unusable(path, `can be written by other users (mode ${octal(mode)})`);
  }
}

/** Follows a link of root or of this user to a path without links, whose folders are checked as well. */
async function checkTarget(link: string): Promise<void> {
  const target = await beforeDeadline(link, () => realpath(link)).catch((error: unknown) => {
    throw unusable(link, reasonOf(error), { cause: error });
  });
  for (const parent of [...parentsOf(target), target]) await checkParent(parent);
}

interface Found {
  readonly mode: number;
  readonly uid: number;
  readonly isLink: boolean;
  readonly isDirectory: boolean;
}

/** Creates one folder, not all of a path: Node's recursive mkdir never returns where the kernel reports ENOENT, as in /proc. */
async function statOrCreate(path: string): Promise<Found> {
  try {
    return await statFolder(path).catch(async (error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error;
      await createFolder(path);
      return statFolder(path);
    });
  } catch (error) {
    throw unusable(path, reasonOf(error), { cause: error });
  }
}

async function statFolder(path: string): Promise<Found> {
  const status = await beforeDeadline(path, () => lstat(path));
  const { mode, uid } = status;
  return { mode, uid, isLink: status.isSymbolicLink(), isDirectory: status.isDirectory() };
}

/** Another VMM may create it at the same time. */
async function createFolder(path: string): Promise<void> {
  try {
    await beforeDeadline(path, () => mkdir(path, PRIVATE));
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

function userId(): number | undefined {
  return process.geteuid?.();
}

function octal(mode: number): string {
  return `0${(mode & (STICKY | PERMISSIONS)).toString(8)}`;
}

function unusable(path: string, reason: string, options?: ErrorOptions): Error {
  return new Error(`${path}: ${reason}`, options);
}
