import { constants } from 'node:fs';
import { mkdir, open, symlink, unlink, type FileHandle } from 'node:fs/promises';
import { codeOf } from '../../util/errno.ts';

/** A directory of the host. Its entries are reached by its descriptor, so that a link in its path leads nowhere else. */
export interface HostDirectory extends AsyncDisposable {
  readonly path: string;
  /** Opens a new or emptied regular file. Another file or a link of that name is replaced */
  readonly createFile: (name: string, mode: number) => Promise<FileHandle>;
  /** Opens a directory, which is created if necessary. A link is refused */
  readonly enter: (name: string, mode: number) => Promise<HostDirectory>;
  /** Makes a link. Another file of that name is replaced */
  readonly createLink: (name: string, target: string) => Promise<void>;
  readonly remove: (name: string) => Promise<void>;
}

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

/** Opens a directory that the user named, and creates it if necessary. */
export async function openHostDirectory(path: string, mode: number): Promise<HostDirectory> {
  await mkdir(path, { mode: mode | 0o700 }).catch(unlessExists);
  return directoryOn(await open(path, O_RDONLY | O_DIRECTORY), path);
}

function directoryOn(handle: FileHandle, path: string): HostDirectory {
  const entry = (name: string): string => `/proc/self/fd/${handle.fd}/${checkEntryName(name)}`;
  const remove = (name: string): Promise<void> => unlink(entry(name));
  const replace = async <T>(name: string, create: () => Promise<T>): Promise<T> => {
    try {
      return await create();
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      await remove(name);
      return create();
    }
  };
  return {
    path,
    createFile: (name, mode) =>
      replace(name, () => open(entry(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)),
    enter: async (name, mode) => {
      await mkdir(entry(name), { mode: mode | 0o700 }).catch(unlessExists);
      return directoryOn(await open(entry(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW), `${path}/${name}`);
    },
    createLink: (name, target) => replace(name, () => symlink(target, entry(name))),
    remove,
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

/** Checks the name of an entry, which comes from the guest. @throws if it is not one component of a path */
export function checkEntryName(name: string): string {
  const isComponent = name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
  if (isComponent && Buffer.byteLength(name) <= 255) return name;
  throw new Error(
    `the guest has an entry with the name ${JSON.stringify(name.slice(0, 80))}, which is not allowed`,
  );
}

function unlessExists(error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error;
}
