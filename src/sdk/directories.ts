import { mkdir, rmdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** Creates a directory if it does not exist, and runs `fill`. If that rejects, the created directories are removed unless they have files. */
export async function withNewDirectory<T>(path: string, fill: () => Promise<T>): Promise<T> {
  const created = await mkdir(path, { recursive: true });
  try {
    return await fill();
  } catch (error) {
    if (created !== undefined) await removeEmpty(resolve(path), resolve(created));
    throw error;
  }
}

/** Removes empty directories from `path` up to `first`. */
async function removeEmpty(path: string, first: string): Promise<void> {
  for (let at = path; at.startsWith(first); at = dirname(at)) {
    const isRemoved = await rmdir(at).then(
      () => true,
      () => false,
    );
    if (!isRemoved || at === first) return;
  }
}

/** Returns the URL of a directory or a file: `file://` and the unchanged path. */
export function urlOf(path: string): string {
  return `file://${resolve(path)}`;
}
