import { createReadStream, createWriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { BootFile } from '../host/boot-file.ts';
import { createMemfd, type Memfd } from '../host/memfd.ts';
import { engineUser } from '../qemu/confinement.ts';
import { openFile } from '../util/open-file.ts';

/*
 * With `--user` the engine may open less than the VMM. It gets what it starts from open; /proc lets it open such a file anew
 * whatever folders it is in, where the file itself allows that.
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
  if (engineUser() === undefined) {
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
  const user = engineUser();
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

/** Looks whether QEMU may map files, and opens them for one that is another user's. */
export async function openForEngine(paths: readonly string[]): Promise<MappableFiles> {
  const user = engineUser();
  const files = new Map<string, FileHandle>();
  const dispose = async (): Promise<void> => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const path of user === undefined ? [] : new Set(paths)) {
      const file = await openFile(path);
      files.set(path, file);
      const { mode, gid } = await file.stat();
      if ((mode & OTHERS_READ) !== 0 || (gid === user?.gid && (mode & GROUP_READS) !== 0)) continue;
      files.delete(path);
      await file.close();
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    isMappable: (path) => user === undefined || files.has(path),
    fds: new Map([...files].map(([path, { fd }]) => [path, fd])),
    [Symbol.asyncDispose]: dispose,
  };
}
