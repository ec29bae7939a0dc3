import type { FileHandle } from 'node:fs/promises';
import { ArchiveError } from './entry.ts';

/** Bytes that one read fetches, so that small headers behind each other need one system call. */
const WINDOW = 256 * 1024;

/** Reads parts of a file in ascending order, with a window of memory. */
export class ByteSource {
  readonly #handle: FileHandle;
  #window: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Returns bytes, fewer at the end of the file. The result is valid until the next call. */
  async readSome(offset: number, length: number): Promise<Buffer> {
    const from = offset - this.#start;
    if (from >= 0 && from + length <= this.#window.length) return this.#window.subarray(from, from + length);
    this.#window = await readAt(this.#handle, offset, Math.max(length, WINDOW));
    this.#start = offset;
    return this.#window.subarray(0, length);
  }

  /** Returns bytes. @throws ArchiveError where the file ends before */
  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = await this.readSome(offset, length);
    if (bytes.length < length)
      throw new ArchiveError(`it ends at byte ${offset + bytes.length}, within an entry`);
    return bytes;
  }
}

/** Reads a part of a file; fewer bytes at the end of the file only. */
export async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}
