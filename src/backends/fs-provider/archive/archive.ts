import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { FsError } from '../errors.ts';
import { keyOf, nameOfKey } from '../names.ts';
import type { FsAttributes, FsEntry, FsName, FsProvider, FsRange } from '../provider.ts';
import { ByteSource, readAt } from './byte-source.ts';
import { ArchiveError, type Content } from './entry.ts';
import { SpillFile } from './spill-file.ts';
import { isTar, tarEntries } from './tar.ts';
import {
  ArchiveTree,
  isDirectory,
  LONGEST_TARGET,
  type ArchiveDirectory,
  type ArchiveFile,
  type ArchiveNode,
} from './tree.ts';
import { gunzipTo, inflateTo } from './unpack.ts';
import { isZip, zipContentOffset, zipEntries } from './zip.ts';

/*
 * A read-only file system from a tar or zip file. `archive.ts` detects the format and serves the tree (`tree.ts`) of its entries
 * (`entry.ts`). `tar.ts` and `zip.ts` list the entries; `pax.ts` parses extended headers of tar, `byte-source.ts` reads headers with
 * few system calls. `unpack.ts` unpacks into a temporary file (`spill-file.ts`).
 *
 * States: the entries are listed once, when the archive is opened. Content is read from the file, or is unpacked at the first read.
 * Invariants: an archive is hostile input. No entry is outside of the tree, and nothing is created on the host by the name of an entry.
 * Memory is bounded by the number of entries and the bytes of targets of symbolic links, the temporary file by a limit.
 */

/** Options of {@link archive}. */
export interface ArchiveOptions {
  /** Most `bytes` of unpacked content, which is in a temporary file. Default: 16 GiB */
  readonly maxUnpackedBytes?: number;
  /** Most files and directories. Default: 1,000,000 */
  readonly maxEntries?: number;
  /** Aborts the unpacking of a gzipped tar file */
  readonly signal?: AbortSignal;
}

/** A read-only file system from an archive. */
export interface Archive extends FsProvider<ArchiveDirectory, ArchiveFile>, AsyncDisposable {}

const DEFAULT_MAX_BYTES = 16 * 2 ** 30;
const DEFAULT_MAX_ENTRIES = 1_000_000;
const GZIP = [0x1f, 0x8b];

/**
 * Opens a tar file (also gzipped) or a zip file as a read-only file system. Its entries are listed now; content is read, or unpacked
 * into a temporary file, when the guest reads it. A gzipped tar file is unpacked into a temporary file now.
 *
 * ```ts
 * await using files = await archive('release.tar.gz');
 * await vm.addFs({ tag: 'release', provider: files });
 * // the guest: mount -t virtiofs release /mnt
 * ```
 * Rejects with an error that names the path where it cannot be read, or is no such archive; then nothing is left.
 */
export async function archive(path: string, options: ArchiveOptions = {}): Promise<Archive> {
  // the open of a FIFO must not wait
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await handle.stat()).isFile()) throw new ArchiveError('not a regular file');
    return await openArchive(handle, options);
  } catch (error) {
    await handle.close();
    if (!(error instanceof ArchiveError)) throw error;
    throw new ArchiveError(`${path}: ${error.message}`, { cause: error });
  }
}

async function openArchive(
  handle: FileHandle,
  { maxUnpackedBytes = DEFAULT_MAX_BYTES, maxEntries = DEFAULT_MAX_ENTRIES, signal }: ArchiveOptions,
): Promise<Archive> {
  const spill = await SpillFile.create(maxUnpackedBytes);
  try {
    const packed = new ByteSource(handle);
    const tree = new ArchiveTree(maxEntries);
    if (await isZip(packed)) {
      const { size } = await handle.stat();
      for await (const entry of zipEntries(packed, size)) tree.add(entry);
      return new OpenArchive(tree.root, { handle, spill });
    }
    const isPacked = (await packed.readSome(0, GZIP.length)).equals(Uint8Array.from(GZIP));
    if (isPacked) await gunzipTo(handle, spill, signal);
    const source = isPacked ? new ByteSource(spill.handle) : packed;
    if (!(await isTar(source))) throw new ArchiveError('neither a tar file, also gzipped, nor a zip file');
    for await (const entry of tarEntries(source)) tree.add(entry);
    return new OpenArchive(tree.root, { handle, spill, stored: isPacked ? spill.handle : handle });
  } catch (error) {
    await spill[Symbol.asyncDispose]();
    throw error;
  }
}

interface Files {
  readonly handle: FileHandle;
  readonly spill: SpillFile;
  /** file that stored content is in; default: `handle` */
  readonly stored?: FileHandle;
}

/** Part of a file that has the content of an entry. */
interface Place {
  readonly handle: FileHandle;
  readonly offset: number;
}

class OpenArchive implements Archive {
  readonly root: ArchiveDirectory;
  readonly #files: Files;
  /** content that was located, by entry */
  readonly #places = new WeakMap<ArchiveFile, Promise<Place>>();

  constructor(root: ArchiveDirectory, files: Files) {
    this.root = root;
    this.#files = files;
  }

  lookup({ entries }: ArchiveDirectory, name: FsName): ArchiveNode | undefined {
    return entries.get(keyOf(name));
  }

  getattr(node: ArchiveNode): FsAttributes {
    return isDirectory(node) ? { ...node.attributes, links: 2 } : { ...node.attributes, links: node.links };
  }

  readdir({ entries }: ArchiveDirectory): FsEntry<ArchiveNode>[] {
    return Array.from(entries, ([key, node]) => ({ name: nameOfKey(key), type: node.attributes.type, node }));
  }

  async read(file: ArchiveFile, { offset, length }: FsRange): Promise<Uint8Array> {
    const { size } = file.attributes;
    const bytes = Math.min(length, Math.max(0, size - offset));
    if (bytes === 0 || file.content === undefined) return new Uint8Array();
    const { handle, offset: start } = await this.#placeOf(file, file.content);
    const read = await readAt(handle, start + offset, bytes);
    if (read.length < bytes) throw new FsError('EIO', 'the archive is not complete');
    return read;
  }

  async readlink(link: ArchiveFile): Promise<FsName> {
    if (link.target !== undefined) return link.target;
    if (link.attributes.size > LONGEST_TARGET) throw new FsError('EIO', 'the target of a link is too long');
    return this.read(link, { offset: 0, length: LONGEST_TARGET });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files.spill[Symbol.asyncDispose]();
    await this.#files.handle.close();
  }

  #placeOf(file: ArchiveFile, content: Content): Promise<Place> {
    const known = this.#places.get(file);
    if (known !== undefined) return known;
    const place = this.#locate(content, file.attributes.size).catch((error: unknown) => {
      if (!(error instanceof ArchiveError)) throw error;
      throw new FsError('EIO', error.message, { cause: error });
    });
    this.#places.set(file, place);
    return place;
  }

  async #locate(content: Content, size: number): Promise<Place> {
    const { handle, spill, stored = handle } = this.#files;
    if (content.kind === 'stored') return { handle: stored, offset: content.offset };
    const offset = await zipContentOffset(new ByteSource(handle), content.header);
    if (!content.isDeflated) return { handle, offset };
    return {
      handle: spill.handle,
      offset: await inflateTo({ handle, offset, packed: content.packed, size }, spill),
    };
  }
}
