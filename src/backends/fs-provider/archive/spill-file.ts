import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsError } from '../errors.ts';

/** A temporary file without a name, for unpacked content: it takes space on the disk, not in memory. */
export class SpillFile implements AsyncDisposable {
  readonly handle: FileHandle;
  readonly #maxBytes: number;
  #bytes = 0;

  private constructor(handle: FileHandle, maxBytes: number) {
    this.handle = handle;
    this.#maxBytes = maxBytes;
  }

  /** Creates the file. It is removed from its folder at once, and exists while it is open. */
  static async create(maxBytes: number): Promise<SpillFile> {
    const folder = await mkdtemp(join(tmpdir(), 'nephos-archive-'));
    try {
      return new SpillFile(await open(join(folder, 'content'), 'wx+', 0o600), maxBytes);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  /** `bytes` that are reserved */
  get size(): number {
    return this.#bytes;
  }

  /** Reserves space. @returns its offset. @throws FsError with ENOSPC where the limit is reached */
  reserve(bytes: number): number {
    const offset = this.#bytes;
    if (bytes > this.#maxBytes - offset)
      throw new FsError('ENOSPC', `the unpacked content needs more than ${this.#maxBytes} bytes`);
    this.#bytes += bytes;
    return offset;
  }

  /** Writes bytes into reserved space. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }
}
