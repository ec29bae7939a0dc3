import { openFile } from '../../util/open-file.ts';
import type { OpenedFile } from '../files/file-range.ts';

/** An open file that the machine boots from: QEMU gets this descriptor, and the path is not opened again. */
export interface BootFile extends AsyncDisposable {
  /** its name in the machine plan; two different files have different names */
  readonly path: string;
  readonly fd: number;
}

/** Opens a file that the machine boots from. Rejects with the system's reason. */
export async function openBootFile(path: string): Promise<OpenedFile> {
  return { path, file: await openFile(path, { kinds: ['file', 'block'] }) };
}

/** Makes a boot file of an open file, which it closes. */
export function asBootFile({ file, path }: OpenedFile): BootFile {
  return { path, fd: file.fd, [Symbol.asyncDispose]: () => file.close() };
}
