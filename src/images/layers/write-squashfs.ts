import { createHash } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { beforeDeadline } from '../../util/path-deadline.ts';
import { ImageError } from '../image-error.ts';
import type { LayerArchive, WriteSquashfs, WriteSquashfsOptions } from '../layer-archive.ts';
import { addEntry, newTree, type LayerTree } from './layer-tree.ts';
import { openArchive } from './open-archive.ts';
import { ARCHIVE_END, paddingAfter, renderEntry } from './render-entry.ts';
import { startTar2sqfs, type SquashfsWriter } from './tar2sqfs.ts';
import { readTar, type ReadEntry } from './tar-reader.ts';
import { TarError } from './tar-header.ts';
import { assignPaths, treeEntries } from './tree-entries.ts';

/*
 * Layers of OCI images as squashfs files (OCI image specification, layer). An archive goes through these steps:
 *
 *   open-archive.ts    decompresses it
 *   tar-reader.ts      yields its entries (byte-reader.ts; tar-header.ts, pax.ts and sparse.ts: the formats)
 *   layer-tree.ts      the tree of the entries: paths, replaced entries, hard links, whiteouts (entry-path.ts)
 *   tree-entries.ts    entries that follow from the complete tree: directories, hard links, whiteouts of overlayfs
 *   render-entry.ts    the entries as a tar archive of one plain form, for tar2sqfs.ts
 *
 * Objects with content are written as they are read. Directories, hard links and whiteouts follow at the end. In the rare archive
 * that replaces an object, its first squashfs is discarded, and the archive is read again with the paths that are left.
 *
 * Invariants: an archive is hostile. Nothing of it is created on this host but the squashfs; tar2sqfs gets no header of it, only
 * those of render-entry.ts. Entries, names, sizes and space are bounded. Owners, modes, devices, times and extended attributes are
 * those of the archive, without any privilege.
 */

/** Most bytes of an uncompressed archive, and of its files with the holes of sparse ones. */
const ARCHIVE_MAX_BYTES = 64 * 2 ** 30;

/** Space that stays free in the file system of the store: a part of it, and so many `bytes` at most. */
const [RESERVE_PART, RESERVE_BYTES_MAX] = [1 / 20, 256 * 2 ** 20];

/** Interval of the checks of free space, in `bytes` of the archive. */
const SPACE_CHECK_BYTES = 64 * 2 ** 20;

/** Interval of progress, in `bytes` of the archive. */
const PROGRESS_BYTES = 2 ** 20;

/** Writes a layer as a squashfs file: see {@link WriteSquashfs}. */
export const writeSquashfs: WriteSquashfs = async (archive, target, options = {}) => {
  try {
    await checkSpace(target);
    const tree = await convert(archive, target, options);
    if (tree.hasReplaced) await convertAgain(archive, target, { ...options, tree });
  } catch (error) {
    throw imageError(archive, error, options.signal);
  }
};

/** Writes the squashfs while the archive is read. The squashfs is incomplete where the tree has replaced an entry. */
async function convert(
  archive: LayerArchive,
  target: string,
  options: WriteSquashfsOptions,
): Promise<LayerTree> {
  const tree = newTree();
  await using writer = await startTar2sqfs(target, options.signal);
  for await (const read of entriesOf(archive, target, options)) {
    const path = addEntry(tree, read.entry);
    if (path !== undefined && !tree.hasReplaced) await writeObject(writer, path, read);
  }
  if (!tree.hasReplaced) await finish(writer, tree);
  return tree;
}

/** Writes the objects that are left in a complete tree, from a second reading of the archive. */
async function convertAgain(
  archive: LayerArchive,
  target: string,
  { tree, ...options }: WriteSquashfsOptions & { readonly tree: LayerTree },
): Promise<void> {
  const paths = assignPaths(tree);
  await using writer = await startTar2sqfs(target, options.signal);
  let ordinal = 0;
  for await (const read of entriesOf(archive, target, options)) {
    const path = paths.get(ordinal++);
    if (path !== undefined) await writeObject(writer, path, read);
  }
  await finish(writer, tree);
}

async function finish(writer: SquashfsWriter, tree: LayerTree): Promise<void> {
  for (const entry of treeEntries(tree)) await writer.write(renderEntry(entry));
  await writer.write(ARCHIVE_END);
  await writer.finish();
}

async function writeObject(
  writer: SquashfsWriter,
  path: string,
  { entry, content }: ReadEntry,
): Promise<void> {
  await writer.write(renderEntry({ ...entry, name: path }));
  for await (const part of content) await writer.write(part);
  await writer.write(paddingAfter(entry.size));
}

/** Yields the entries of an archive, and verifies its digest at the end. */
async function* entriesOf(
  archive: LayerArchive,
  target: string,
  options: WriteSquashfsOptions,
): AsyncGenerator<ReadEntry> {
  const [algorithm = '', expected = ''] = archive.diffId.split(':');
  const hash = createHash(algorithm);
  let files = 0;
  const bytes = verified(openArchive(archive.path, reading(archive, options)), async (part, total) => {
    hash.update(part);
    checkTotal(total);
    if (total % SPACE_CHECK_BYTES < part.length) await checkSpace(target);
  });
  for await (const read of readTar(bytes)) {
    checkTotal((files += read.entry.size));
    yield read;
  }
  const digest = hash.digest('hex');
  if (digest !== expected) {
    throw new TarError(`has the uncompressed digest ${algorithm}:${digest}, not ${archive.diffId}`);
  }
}

/** Passes bytes on after a check, which gets their total with each part. */
async function* verified(
  bytes: AsyncIterable<Buffer>,
  check: (part: Buffer, total: number) => Promise<void>,
): AsyncGenerator<Buffer> {
  let total = 0;
  for await (const part of bytes) {
    await check(part, (total += part.length));
    yield part;
  }
}

function reading({ diffId }: LayerArchive, { signal, onProgress }: WriteSquashfsOptions) {
  let next = 0;
  return {
    signal,
    onRead: (done: number, total: number): void => {
      if (done < next && done < total) return;
      next = done + PROGRESS_BYTES;
      onProgress?.({ step: 'unpack', subject: diffId, done, total });
    },
  };
}

/** A layer that is larger than the bounds of Nephos, or than the space of the host. */
class TooLargeError extends Error {
  override readonly name = 'TooLargeError';
}

function checkTotal(bytes: number): void {
  if (bytes > ARCHIVE_MAX_BYTES) {
    throw new TooLargeError(`has more than ${ARCHIVE_MAX_BYTES / 2 ** 30} GiB uncompressed`);
  }
}

async function checkSpace(target: string): Promise<void> {
  const folder = dirname(target);
  const { bavail, blocks, bsize } = await beforeDeadline(folder, () => statfs(folder));
  if (bavail * bsize < Math.min(RESERVE_BYTES_MAX, blocks * bsize * RESERVE_PART)) {
    const free = Math.floor((bavail * bsize) / 2 ** 20);
    throw new TooLargeError(
      `needs more space: ${folder} has ${free} MiB free; remove images with 'nephos prune'`,
    );
  }
}

function imageError({ image, diffId }: LayerArchive, cause: unknown, signal?: AbortSignal): ImageError {
  if (signal?.aborted === true)
    return new ImageError('aborted', image, 'the unpacking was aborted', { cause });
  const fault =
    cause instanceof TarError ? 'invalid' : cause instanceof TooLargeError ? 'too-large' : 'store';
  return new ImageError(fault, image, `layer ${diffId} ${reasonOf(cause)}`, { cause });
}
