import { createReadStream, createWriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { ApiError } from '../../api/errors.ts';
import type { BootFile } from '../../host/kernel/boot-file.ts';
import { createMemfd, type Memfd } from '../../native/memfd.ts';
import { qemuUser } from '../../qemu/process/confinement.ts';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';

/*
 * QEMU gets the files that it starts from open: whatever happens to their names, it has those that were looked at. /proc lets
 * it open such a file anew whatever folders it is in, where the file itself allows that: with `--user` it may not.
 */

/** Files for QEMU, until it has its copies of the descriptors. */
export interface HandedFiles extends Disposable {
  /** descriptors, by the paths that the plan has */
  readonly fds: ReadonlyMap<string, number>;
}

/**
 * Hands over the files that a machine starts from: QEMU gets the very files that were opened and looked at. One that is another
 * user's gets copies in memory.
 */
export async function handBootFiles(files: readonly BootFile[]): Promise<HandedFiles> {
  if (qemuUser() === undefined) {
    return { fds: new Map(files.map(({ path, fd }) => [path, fd])), [Symbol.dispose]: () => undefined };
  }
  const copies = new Map<string, Memfd>();
  const dispose = (): void => {
    for (const copy of copies.values()) copy[Symbol.dispose]();
  };
  try {
    for (const { path, fd } of files) {
      const copy = await createMemfd('boot');
      copies.set(path, copy);
      await pipeline(createReadStream('', { fd, autoClose: false, start: 0 }), createWriteStream(copy.path));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { fds: new Map([...copies].map(([path, { fd }]) => [path, fd])), [Symbol.dispose]: dispose };
}

const GROUP_READS = 0o040;
const OTHERS_READ = 0o004;

/** Lets the engine's group read a new file: machines that are restored from it can map it then. */
export async function showEngine(file: FileHandle): Promise<void> {
  const user = qemuUser();
  if (user === undefined) return;
  await file.chown(-1, user.gid);
  await file.chmod(0o600 | GROUP_READS);
}

/** Files that QEMU may map, or may not. */
export interface MappableFiles extends AsyncDisposable {
  readonly isMappable: (path: string) => boolean;
  /** as in {@link HandedFiles} */
  readonly fds: ReadonlyMap<string, number>;
}

/**
 * Opens files that QEMU is to map, and looks whether it may: it gets them open, and looks no path up again.
 * Rejects with the path and the reason.
 */
export async function openForEngine(paths: readonly string[]): Promise<MappableFiles> {
  const files = new Map<string, FileHandle>();
  const dispose = async (): Promise<void> => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const path of new Set(paths)) {
      const file = await openFile(path).catch((error: unknown) => {
        throw new ApiError('failed', `${path}: ${reasonOf(error)}`, { cause: error });
      });
      files.set(path, file);
      if (await mayMap(file)) continue;
      files.delete(path);
      await file.close();
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    isMappable: (path) => files.has(path),
    fds: new Map([...files].map(([path, { fd }]) => [path, fd])),
    [Symbol.asyncDispose]: dispose,
  };
}

/** Whether QEMU has the right to map an open file for reading. */
async function mayMap(file: FileHandle): Promise<boolean> {
  const user = qemuUser();
  if (user === undefined) return true;
  const { mode, gid } = await file.stat();
  return (mode & OTHERS_READ) !== 0 || (gid === user.gid && (mode & GROUP_READS) !== 0);
}
