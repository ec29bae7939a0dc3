import { constants, type BigIntStats } from 'node:fs';
import { lstat, mkdir, open } from 'node:fs/promises';
import { codeOf } from '../../../util/errno.ts';
import type { FsName } from '../provider.ts';
import { entryPath, makeNullDevice, readAttribute, writeAttribute } from './host-calls.ts';

/*
 * Marks of overlayfs (Documentation/filesystems/overlayfs.rst). A whiteout hides an entry of the lower layer: a character device with the
 * number 0, or an empty file with an attribute, in a directory that is marked for it. An opaque directory hides all of them.
 */

/** Attributes of a mount with `userxattr`, and those of the superuser. */
const PREFIXES = ['user.overlay.', 'trusted.overlay.'] as const;
const [WRITTEN] = PREFIXES;

export const OPAQUE = 'y';
/** The directory has whiteouts that are files. */
const HAS_FILES = 'x';

/** Returns the status of an entry; undefined: there is none. Symbolic links are not followed. */
export async function statEntry(directory: number, name: FsName): Promise<BigIntStats | undefined> {
  try {
    return await lstat(entryPath(directory, name), { bigint: true });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Returns whether an entry of the upper layer is a whiteout. */
export function isWhiteout(stats: BigIntStats, path: Buffer): boolean {
  if (stats.isCharacterDevice()) return stats.rdev === 0n;
  return stats.isFile() && stats.size === 0n && markOf(path, 'whiteout') !== undefined;
}

/** Returns whether a directory of the upper layer hides the lower one. */
export function isOpaque(path: Buffer): boolean {
  return markOf(path, 'opaque') === OPAQUE;
}

/** Returns whether a directory of the upper layer may have whiteouts that are files. */
export function hasFileWhiteouts(path: Buffer): boolean {
  return markOf(path, 'opaque') === HAS_FILES;
}

/** Marks a directory as opaque. */
export function makeOpaque(path: Buffer): void {
  writeAttribute(path, `${WRITTEN}opaque`, OPAQUE);
}

/** Creates a whiteout in the work directory, to be moved into `directory`. */
export async function makeWhiteout(path: Buffer, directory: Buffer): Promise<void> {
  if (makeNullDevice(path)) return;
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  const handle = await open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
  await handle.close();
  writeAttribute(path, `${WRITTEN}whiteout`, OPAQUE);
  if (!isOpaque(directory)) writeAttribute(directory, `${WRITTEN}opaque`, HAS_FILES);
}

/** Creates a directory, or returns if there is one. @throws where another kind of entry has the name */
export async function makeWorkDirectory(path: Buffer): Promise<void> {
  try {
    await mkdir(path, 0o700);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !(await lstat(path)).isDirectory()) throw error;
  }
}

function markOf(path: Buffer, name: string): string | undefined {
  for (const prefix of PREFIXES) {
    const value = readAttribute(path, prefix + name);
    if (value !== undefined) return value;
  }
  return undefined;
}
