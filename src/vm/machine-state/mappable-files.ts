import type { FileHandle } from 'node:fs/promises';
import { ApiError } from '../../api/errors.ts';
import { qemuUser } from '../../qemu/process/confinement.ts';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';

const GROUP_READS = 0o040;
const OTHERS_READ = 0o004;

/** Lets the group of QEMU's user read a new file, so that a restored machine can map it. */
export async function allowQemuToRead(file: FileHandle): Promise<void> {
  const user = qemuUser();
  if (user === undefined) return;
  await file.chown(-1, user.gid);
  await file.chmod(0o600 | GROUP_READS);
}

/** Files with guest memory, some of which QEMU may map. */
export interface MappableFiles extends AsyncDisposable {
  readonly isMappable: (path: string) => boolean;
  /** file descriptors of the files that QEMU may map, by path */
  readonly fds: ReadonlyMap<string, number>;
}

/**
 * Opens files for QEMU to map, if its user has the right to. QEMU inherits the file descriptors, so no path is resolved twice.
 * Rejects with ApiError naming the path and the reason.
 */
export async function openMappableFiles(paths: readonly string[]): Promise<MappableFiles> {
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

/** Returns whether QEMU's user has the right to map an open file for reading. */
async function mayMap(file: FileHandle): Promise<boolean> {
  const user = qemuUser();
  if (user === undefined) return true;
  const { mode, gid } = await file.stat();
  return (mode & OTHERS_READ) !== 0 || (gid === user.gid && (mode & GROUP_READS) !== 0);
}
