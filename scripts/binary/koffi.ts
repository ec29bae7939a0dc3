// Takes the place of the module `koffi` in a single executable: loads its library from the executable's asset.
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { getAsset } from 'node:sea';

type Koffi = (typeof import('koffi'))['default'];

/** Linux' O_TMPFILE, which includes the O_DIRECTORY of the processor's architecture. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Folders that may hold the library, in order. */
const FOLDERS = ['/dev/shm', '/tmp', '/var/tmp', '/run'];

function loadKoffi(): Koffi {
  const library = Buffer.from(getAsset('koffi.node'));
  const failures: string[] = [];
  for (const load of [loadUnnamed, loadNamed]) {
    for (const folder of FOLDERS) {
      try {
        return load(folder, library);
      } catch (error) {
        failures.push(`${folder}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  throw new Error(`no folder can hold the executable's native library (${failures.join('; ')})`);
}

/** Loads it from a file without a name: no other program can replace it between writing and loading. */
function loadUnnamed(folder: string, library: Buffer): Koffi {
  const fd = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700);
  try {
    writeAll(fd, library);
    return loadFrom(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

/** Loads it from a folder that other users cannot enter: for a file system without O_TMPFILE, and where /proc is not mounted. */
function loadNamed(folder: string, library: Buffer): Koffi {
  const own = mkdtempSync(join(folder, 'nephos-'));
  try {
    const path = join(own, 'koffi.node');
    const fd = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o700);
    try {
      writeAll(fd, library);
    } finally {
      closeSync(fd);
    }
    return loadFrom(path);
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
}

function loadFrom(path: string): Koffi {
  const loaded: { exports: unknown } = { exports: {} };
  process.dlopen(loaded, path);
  if (isKoffi(loaded.exports)) return loaded.exports;
  throw new Error('the library is not koffi');
}

function isKoffi(value: unknown): value is Koffi {
  return typeof value === 'object' && value !== null && 'load' in value && 'view' in value;
}

export default loadKoffi();
