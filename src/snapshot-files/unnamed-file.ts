import { constants } from 'node:fs';
import { open as openPath, rm, type FileHandle } from 'node:fs/promises';
import { linkOpenFile } from '../native/file-clone.ts';
import { closeInBackground } from '../util/background.ts';
import { closeRemoved } from '../util/close-file.ts';
import { codeOf } from '../util/errno.ts';
import { beforeDeadline } from '../util/path-deadline.ts';

/** Flag of open(2) for a file without a name. */
const O_TMPFILE = 0o20_000_000 | constants.O_DIRECTORY;

/** The file system has no files without a name. */
const WITHOUT_UNNAMED: readonly (string | undefined)[] = ['EOPNOTSUPP', 'EISDIR', 'EINVAL', 'ENOENT'];

/** A new file that has its name only when it is complete. */
export interface UnnamedFile {
  readonly file: FileHandle;
  /** Gives the file its name. Rejects where the name exists. */
  readonly link: () => Promise<void>;
  /** Closes the file, which disappears if it has no name yet. */
  readonly discard: () => Promise<void>;
}

/**
 * Creates a file that the kernel removes if this process is killed, until it is linked. It has the name from the start if the file system
 * has no such files.
 */
export async function createUnnamedFile(folder: string, path: string): Promise<UnnamedFile> {
  const file = await openIn(folder, constants.O_RDWR | O_TMPFILE).catch((error: unknown) => {
    if (WITHOUT_UNNAMED.includes(codeOf(error))) return undefined;
    throw error;
  });
  if (file !== undefined) {
    return { file, link: () => linkOpenFile(file.fd, path), discard: () => closeRemoved(file) };
  }
  const named = await openIn(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
  return {
    file: named,
    link: () => Promise.resolve(),
    discard: async () => {
      await rm(path, { force: true });
      await closeRemoved(named);
    },
  };
}

function openIn(path: string, flags: number): Promise<FileHandle> {
  return beforeDeadline(path, () => openPath(path, flags), { onLate: closeInBackground });
}
