import { digestOf, hasDigest } from '../digest.ts';
import { digestPath, readStored, writeStored, type Store } from './store.ts';

/** Reads a manifest or a configuration; undefined where it is missing, truncated or changed: it is then fetched again. */
export async function readBlob(store: Store, digest: string, limit: number): Promise<Buffer | undefined> {
  const bytes = await readStored(digestPath(store, 'blobs', digest), limit);
  return bytes !== undefined && hasDigest(bytes, digest) ? bytes : undefined;
}

/** Writes a manifest or a configuration. @throws RangeError where the bytes do not have the digest */
export async function writeBlob(store: Store, bytes: Buffer, digest = digestOf(bytes)): Promise<void> {
  if (!hasDigest(bytes, digest)) throw new RangeError(`the bytes do not have the digest ${digest}`);
  await writeStored(store, digestPath(store, 'blobs', digest), bytes);
}
