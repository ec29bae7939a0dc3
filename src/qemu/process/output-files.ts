import type { FileHandle } from 'node:fs/promises';
import { reasonOf } from '../../util/errno.ts';
import { openFile, OUTPUT_FLAGS, OUTPUT_KINDS } from '../../util/open-file.ts';
import type { Descriptor } from './descriptors.ts';
import { QemuError } from './qemu-error.ts';

/** Open output files. They are closed once QEMU has its copies of the descriptors. */
export interface OutputFiles extends AsyncDisposable {
  /** file descriptors, by id of the chardev */
  readonly fds: ReadonlyMap<string, number>;
}

/**
 * Opens the output files of character devices, e.g. of consoles in mode File. A FIFO must have a reader; output is lost while it is
 * full. Rejects with QemuError naming the chardev, and leaves no file open.
 */
export async function openOutputFiles(
  descriptors: readonly Descriptor[],
  signal: AbortSignal,
): Promise<OutputFiles> {
  const files = new Map<string, FileHandle>();
  const close = async (): Promise<void> => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const one of descriptors) if (one.use === 'file') files.set(one.id, await openOutput(one, signal));
  } catch (error) {
    await close();
    throw error;
  }
  return { fds: new Map([...files].map(([id, { fd }]) => [id, fd])), [Symbol.asyncDispose]: close };
}

async function openOutput(
  { path, id }: Extract<Descriptor, { use: 'file' }>,
  signal: AbortSignal,
): Promise<FileHandle> {
  try {
    return await openFile(path, { flags: OUTPUT_FLAGS, mode: 0o666, kinds: OUTPUT_KINDS, signal });
  } catch (error) {
    throw new QemuError(`${path}: ${reasonOf(error)}`, id, { cause: error });
  }
}
