import { openFile } from '../../util/open-file.ts';
import type { OpenedFile } from '../files/file-range.ts';

/** A file that the machine starts from, open: QEMU gets this descriptor, and no path is looked up again. */
export interface BootFile extends AsyncDisposable {
  /** its name in the machine's plan; two different files have different names */
  readonly path: string;
  readonly fd: number;
}

/** Opens a file that the machine starts from. Rejects with the system's reason. */
export async function openBootFile(path: string): Promise<OpenedFile> {
  return { path, file: await openFile(path, { kinds: ['file', 'block'] }) };
}

/** Hands an open file on as one that the machine starts from. */
export function asBootFile({ file, path }: OpenedFile): BootFile {
  return { path, fd: file.fd, [Symbol.asyncDispose]: () => file.close() };
}
