import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { BootFile } from '../../host/kernel/boot-file.ts';
import { createMemfd, type Memfd } from '../../native/memfd.ts';
import { qemuUser } from '../../qemu/process/confinement.ts';

/** Boot files for QEMU, until it has its copies of the file descriptors. */
export interface BootFileDescriptors extends Disposable {
  /** file descriptors, by the paths that the plan has */
  readonly fds: ReadonlyMap<string, number>;
}

/**
 * Returns file descriptors of the boot files that QEMU may open again through /proc, so no path is resolved twice. If QEMU runs as
 * another user (`--user`), they are copies in memory, because that user may have no right to open the files.
 */
export async function bootFileDescriptors(files: readonly BootFile[]): Promise<BootFileDescriptors> {
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
