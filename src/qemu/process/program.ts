import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';

/** The oldest QEMU that works: `file:` migration is new in 8.2. */
export const OLDEST_QEMU = [8, 2, 0] as const;

/**
 * Finds a program: at `override`, else by its name on the PATH.
 * @returns its path; undefined if there is no such program
 */
export function findProgram(name: string, override?: string): string | undefined {
  const candidates =
    override === undefined
      ? (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name))
      : [override];
  return candidates.find(isExecutable);
}

function isExecutable(path: string): boolean {
  return programProblem(path) === undefined;
}

/** Returns the reason why a file cannot be started as a program; undefined if it can. */
export function programProblem(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return 'is not a file';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return codeOf(error) === 'EACCES' ? 'is not executable (permission denied)' : reasonOf(error);
  }
}

/** Returns the reason why a version of QEMU cannot be used; undefined if it can. */
export function versionProblem(version: Version): string | undefined {
  if (!isOlder(version, OLDEST_QEMU)) return undefined;
  return `QEMU ${version.join('.')} is too old: ${OLDEST_QEMU.slice(0, 2).join('.')} is the least that works, 10 is recommended`;
}

/** QEMU's version: major, minor, micro. */
type Version = readonly [number, number, number];

/** Returns true if a version is lower than another: 10.0.10 is not older than 10.0.4. */
export function isOlder(version: Version, than: Version): boolean {
  const at = version.findIndex((part, i) => part !== than[i]);
  return at >= 0 && (version[at] ?? 0) < (than[at] ?? 0);
}
