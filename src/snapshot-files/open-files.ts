import type { FileHandle } from 'node:fs/promises';
import { openFile } from '../util/open-file.ts';

/** Files of a chain, each opened for reading at its first use. Disposal closes them. */
export interface OpenFiles extends AsyncDisposable {
  /** Rejects with the path and the reason. */
  readonly open: (path: string) => Promise<FileHandle>;
}

/** Opens files at once, so that later replacements of them do not matter. Rejects with the path and the reason. */
export async function openAll(paths: Iterable<string>): Promise<OpenFiles> {
  const files = createOpenFiles();
  try {
    const opening = [...paths].map((path) => files.open(path));
    // the first error is reported
    for (const one of opening) one.catch(() => undefined);
    for (const one of opening) await one;
    return files;
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}

/** Opens no file yet. */
export function createOpenFiles(): OpenFiles {
  const files = new Map<string, Promise<FileHandle>>();
  return {
    open: (path) => {
      const file = files.get(path) ?? openFile(path);
      files.set(path, file);
      return file;
    },
    [Symbol.asyncDispose]: async () => {
      for (const opened of await Promise.allSettled(files.values())) {
        if (opened.status === 'fulfilled') await opened.value.close();
      }
    },
  };
}
