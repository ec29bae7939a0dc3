import type { FileHandle } from 'node:fs/promises';
import { beforeDeadline } from '../../util/path-deadline.ts';

/** An open file and its path for messages. */
export interface OpenedFile {
  readonly file: FileHandle;
  readonly path: string;
}

/** A range of an open file, in `bytes`. */
export interface FileRange extends OpenedFile {
  readonly offset: number;
  readonly length: number;
}

/** Size of a read, in bytes: hashing it takes less than a millisecond. */
const PART_BYTES = 256 * 1024;

/** Reads a range; the result is shorter where the file ends before it. Rejects where the file system does not answer. */
export async function readRange({ file, path, offset, length }: FileRange): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const read = (): Promise<{ bytesRead: number }> => file.read(bytes, done, length - done, offset + done);
    const { bytesRead } = await beforeDeadline(path, read);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

/** Reads a range in parts of bounded size, so that a large file takes little memory and never blocks the event loop. */
export async function* partsOf({ offset, length, ...opened }: FileRange): AsyncGenerator<Buffer> {
  for (let at = 0; at < length; at += PART_BYTES) {
    const part = await readRange({
      ...opened,
      offset: offset + at,
      length: Math.min(PART_BYTES, length - at),
    });
    if (part.length > 0) yield part;
    if (part.length < PART_BYTES) return;
  }
}

/** Returns the SHA-256 of an open file's content, in hex. */
export async function digestOf(opened: OpenedFile): Promise<string> {
  // loaded on first use: an ordinary start hashes nothing
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha256');
  const { size } = await opened.file.stat();
  for await (const part of partsOf({ ...opened, offset: 0, length: size })) hash.update(part);
  return hash.digest('hex');
}
