import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { createOutput } from '../../native/output.ts';
import { closeInBackground } from '../../util/background.ts';
import { reasonOf } from '../../util/errno.ts';
import { openFile, OUTPUT_FLAGS, OUTPUT_KINDS } from '../../util/open-file.ts';
import type { Descriptor } from './descriptors.ts';
import { QemuError } from './qemu-error.ts';

/** Open output files. Their disposal closes those that QEMU has copies of. */
export interface OutputFiles extends AsyncDisposable {
  readonly fds: ReadonlyMap<Descriptor, number>;
  /**
   * FIFOs and character devices that get the output of a channel. QEMU would block while one is full, so the VMM writes the bytes of
   * the channel to it.
   */
  readonly streamed: ReadonlySet<Descriptor>;
  /** Writes the output of the channels, by id of the chardev, to the streamed files until each channel closes. To be called once. */
  readonly writeFrom: (channels: ReadonlyMap<string, Duplex>) => void;
}

type FileDescriptor = Extract<Descriptor, { use: 'file' }>;

/**
 * Opens the output files of character devices, e.g. of consoles in mode File. A FIFO must have a reader; output is lost while it is
 * full. With `continues`, their contents stay. Rejects with QemuError naming the chardev, and leaves no file open.
 */
export async function openOutputFiles(
  descriptors: readonly Descriptor[],
  signal: AbortSignal,
  continues = false,
): Promise<OutputFiles> {
  const files = new Map<Descriptor, FileHandle>();
  const streamed = new Set<FileDescriptor>();
  const close = async (): Promise<void> => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const one of descriptors) {
      if (one.use !== 'file') continue;
      const file = await openOutput(one, continues ? CONTINUED_FLAGS : OUTPUT_FLAGS, signal);
      files.set(one, file);
      const hasChannel = descriptors.some((other) => other.use === 'channel' && other.id === one.id);
      if (hasChannel && !(await file.stat()).isFile()) streamed.add(one);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    fds: new Map([...files].map(([one, { fd }]) => [one, fd])),
    streamed,
    writeFrom: (channels) => {
      for (const one of streamed) {
        const [channel, file] = [channels.get(one.id), files.get(one)];
        if (channel === undefined || file === undefined) continue;
        files.delete(one);
        writeTo(file, channel);
      }
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Most output that is queued for a streamed file, in bytes. */
const QUEUED_BYTES = 65_536;

/** Writes the output of a channel to a file, which it closes with the channel. While the file is full, the oldest output beyond the queue is lost. */
export function writeTo(file: FileHandle, channel: Duplex): void {
  const output = createOutput(file.fd, { release: () => closeInBackground(file) });
  channel.on('data', (bytes: Buffer) => {
    output.write(bytes);
    output.dropBeyond(QUEUED_BYTES);
  });
  channel.once('close', output.close);
}

/** QEMU appends to the files, so that the contents may stay. */
const CONTINUED_FLAGS = OUTPUT_FLAGS & ~constants.O_TRUNC;

async function openOutput(
  { path, id }: FileDescriptor,
  flags: number,
  signal: AbortSignal,
): Promise<FileHandle> {
  try {
    return await openFile(path, { flags, mode: 0o666, kinds: OUTPUT_KINDS, signal });
  } catch (error) {
    throw new QemuError(`${path}: ${reasonOf(error)}`, id, { cause: error });
  }
}
