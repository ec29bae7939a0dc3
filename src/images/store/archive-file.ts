import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { parseDigest } from '../digest.ts';
import { ImageError } from '../image-error.ts';
import { removeStored, storeError } from './store.ts';

/*
 * The archive of a layer while it is received. Its bytes are hashed as they are written; a later process continues an incomplete one.
 *
 * States: incomplete (any length up to the size of its descriptor), complete and verified. One with too many bytes or another digest is
 * removed.
 */

/** An archive that a source fills. */
export interface ArchiveSink {
  /** Bytes that are there already; the source continues behind them */
  readonly offset: number;
  /** Appends bytes. Rejects as soon as there are more than the descriptor says. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Drops all bytes, where a source cannot continue. */
  readonly restart: () => Promise<void>;
}

/** Digest and size in bytes that an archive must have. */
export interface ArchiveDescriptor {
  readonly digest: string;
  readonly size: number;
}

/** Writes the bytes of an archive from `sink.offset` to its last one. */
export type FillArchive = (sink: ArchiveSink) => Promise<void>;

/**
 * Receives an archive into a file and verifies its size and digest. The file is left only where it is complete, or where a source failed
 * and a later call can continue. @throws ImageError
 */
export async function receiveArchive(
  image: string,
  path: string,
  descriptor: ArchiveDescriptor,
  fill: FillArchive,
): Promise<void> {
  const wasContinued = await receiveOnce(image, path, descriptor, fill);
  if (wasContinued === 'verified') return;
  // bytes of a former process were damaged: their host may have crashed
  if (wasContinued === 'continued' && (await receiveOnce(image, path, descriptor, fill)) === 'verified')
    return;
  throw new ImageError(
    'invalid',
    image,
    `the content of layer ${descriptor.digest} does not have this digest; the source is damaged or hostile`,
  );
}

/** @returns `continued` where the digest is wrong and some of the bytes are of a former call */
async function receiveOnce(
  image: string,
  path: string,
  descriptor: ArchiveDescriptor,
  fill: FillArchive,
): Promise<'verified' | 'continued' | 'wrong'> {
  await using archive = await openArchive(image, path, descriptor);
  const former = archive.sink.offset;
  if (former < descriptor.size) await fill(archive.sink);
  if (archive.sink.offset < descriptor.size) {
    const reason = `layer ${descriptor.digest} ends after ${archive.sink.offset} of ${descriptor.size} bytes`;
    throw new ImageError('invalid', image, reason);
  }
  if (archive.isVerified()) return 'verified';
  await removeStored(path);
  return former > 0 ? 'continued' : 'wrong';
}

interface OpenArchive extends AsyncDisposable {
  readonly sink: ArchiveSink;
  readonly isVerified: () => boolean;
}

async function openArchive(image: string, path: string, descriptor: ArchiveDescriptor): Promise<OpenArchive> {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  const { algorithm, hex } = parseDigest(descriptor.digest) ?? { algorithm: 'sha256', hex: '' };
  const file = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    let hash = createHash(algorithm);
    let offset = await hashFile(file, hash, descriptor.size);
    await file.truncate(offset);
    const sink: ArchiveSink = {
      get offset() {
        return offset;
      },
      write: async (bytes) => {
        if (offset + bytes.length > descriptor.size) {
          const reason = `layer ${descriptor.digest} has more than the ${descriptor.size} bytes of its descriptor`;
          await file.truncate(0);
          throw new ImageError('invalid', image, reason);
        }
        await writeAt(file, bytes, offset);
        hash.update(bytes);
        offset += bytes.length;
      },
      restart: async () => {
        await file.truncate(0);
        hash = createHash(algorithm);
        offset = 0;
      },
    };
    return {
      sink,
      isVerified: () => hash.copy().digest('hex') === hex,
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Adds the first `limit` bytes of a file to a hash. @returns their number */
async function hashFile(file: FileHandle, hash: Hash, limit: number): Promise<number> {
  const piece = Buffer.allocUnsafe(2 ** 18);
  let offset = 0;
  for (;;) {
    const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, limit - offset), offset);
    if (bytesRead === 0) return offset;
    hash.update(piece.subarray(0, bytesRead));
    offset += bytesRead;
  }
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Returns the error for a failed write to the store: a full disk has a remedy. */
export function writeError(directory: string, error: unknown): unknown {
  const code = codeOf(error);
  if (error instanceof ImageError || code === undefined || code.startsWith('ABORT')) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new ImageError('too-large', directory, 'the disk is full; run nephos prune, or free some space', {
      cause: error,
    });
  return storeError(directory, `cannot be written: ${reasonOf(error)}`, error);
}
