import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createInflateRaw } from 'node:zlib';
import { readAt } from './byte-source.ts';
import { ArchiveError } from './entry.ts';
import type { SpillFile } from './spill-file.ts';

/** Bytes of a read of packed content. */
const PIECE = 256 * 1024;

/** Unpacks a whole gzip file. Rejects with ArchiveError where it is damaged. */
export async function gunzipTo(handle: FileHandle, spill: SpillFile, signal?: AbortSignal): Promise<void> {
  const take = async (pieces: AsyncIterable<unknown>): Promise<void> => {
    for await (const piece of pieces)
      if (Buffer.isBuffer(piece)) await spill.write(piece, spill.reserve(piece.length));
  };
  const options = signal === undefined ? {} : { signal };
  await pipeline(parts(handle, 0, Number.MAX_SAFE_INTEGER), createGunzip(), take, options).catch(damaged);
}

/** Part of a file. */
interface Packed {
  readonly handle: FileHandle;
  readonly offset: number;
  /** `bytes` */
  readonly packed: number;
  /** `bytes` of the unpacked content */
  readonly size: number;
}

/** Unpacks deflated content. @returns the offset of the unpacked content. Rejects with ArchiveError where it is damaged */
export async function inflateTo({ handle, offset, packed, size }: Packed, spill: SpillFile): Promise<number> {
  const start = spill.reserve(size);
  let done = 0;
  const take = async (pieces: AsyncIterable<unknown>): Promise<void> => {
    for await (const piece of pieces) {
      if (!Buffer.isBuffer(piece)) continue;
      if (done + piece.length > size) throw new ArchiveError('an entry is larger than its header says');
      await spill.write(piece, start + done);
      done += piece.length;
    }
  };
  await pipeline(parts(handle, offset, packed), createInflateRaw(), take).catch(damaged);
  if (done < size) throw new ArchiveError('an entry is smaller than its header says');
  return start;
}

async function* parts(handle: FileHandle, offset: number, length: number): AsyncGenerator<Buffer> {
  for (let done = 0; done < length;) {
    const piece = await readAt(handle, offset + done, Math.min(PIECE, length - done));
    if (piece.length === 0) return;
    done += piece.length;
    yield piece;
  }
}

function damaged(error: unknown): never {
  const isZlib = error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
  if (!isZlib) throw error;
  throw new ArchiveError(`the packed content is damaged: ${error.message}`, { cause: error });
}
