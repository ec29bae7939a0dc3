import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { besideBundle, isBundled } from '../../util/beside-bundle.ts';
import { qemuUser } from './confinement.ts';

/**
 * Libraries that QEMU is linked with, and that Nephos does not use: the disassembler of its monitor and log. The loader would write 1.3 MiB
 * of its addresses in each process, which takes 1.4 ms. The build writes an empty library of the same name (scripts/replaced-libraries.ts).
 */
export const REPLACED_LIBRARIES = ['libcapstone.so.4', 'libcapstone.so.5'] as const;

/**
 * The C library, in which the loader looks up every name first, because it is in front of the others: it finds most of the 12,000 names
 * there, and 1.5 ms sooner than in the order in which QEMU names its libraries. Only the mathematical functions are in two of them, and
 * are the same.
 */
const FIRST_LIBRARY = 'libc.so.6';

/** Returns the libraries that the loader takes instead of QEMU's own, as LD_PRELOAD names them; undefined if there are none. */
export function replacedLibraries(): string | undefined {
  if (!isBundled()) return undefined;
  const folder = besideBundle(join('replaced', process.arch));
  return typeof folder === 'string' ? findLibraries(folder, qemuUser() !== undefined) : undefined;
}

/** Finds the libraries in a folder. `forOtherUser`: QEMU runs as another user, who must be able to read them. */
export function findLibraries(folder: string, forOtherUser: boolean): string | undefined {
  // separators and variables of LD_PRELOAD, for which the loader has no escapes
  if (/[\s:$]/.test(folder)) return undefined;
  const paths = REPLACED_LIBRARIES.map((name) => join(folder, name));
  if (!paths.every(existsSync)) return undefined;
  if (forOtherUser && !paths.every(isReadableByAll)) return undefined;
  return [FIRST_LIBRARY, ...paths].join(':');
}

/** Mode bits of other users: read a file, search a folder. */
const [MAY_READ, MAY_SEARCH] = [0o004, 0o001];

function isReadableByAll(path: string): boolean {
  return (statSync(path).mode & MAY_READ) !== 0 && isReachableByAll(dirname(path));
}

function isReachableByAll(folder: string): boolean {
  if ((statSync(folder).mode & MAY_SEARCH) === 0) return false;
  return folder === dirname(folder) || isReachableByAll(dirname(folder));
}
