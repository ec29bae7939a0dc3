import type { FileSystemStatus, Opened } from '../fuse/file-system.ts';
import { typeBits } from './attributes.ts';
import { FsError } from './errors.ts';
import { checkedName, checkedTarget, nameOf } from './names.ts';
import type { ListedEntry, ResultOf, ValueOf } from './operations.ts';
import type { OpenDirectory } from './open-files.ts';
import type { FsContext, FsEntry, FsSpace } from './provider.ts';
import type { ProviderNodes } from './provider-nodes.ts';

/** Inode number of an entry whose number is unknown; the guest's kernel uses the same (FUSE_UNKNOWN_INO). */
const UNKNOWN_INODE = 0xffff_ffffn;

/** Entries before those of the provider: `.` and `..`. */
const DOTS = ['.', '..'].map((name) => Buffer.from(name));

const BLOCK_SIZE = 4096;
const MAX_NAME_BYTES = 255;

/** Space of a provider that does not know its own. */
const UNKNOWN_SPACE: FsSpace = { size: 0, free: 0 };

/** Requests that read. Each throws, or rejects with, an error for the guest. */
export class ReadOperations {
  readonly #on: ProviderNodes;

  constructor(on: ProviderNodes) {
    this.#on = on;
  }

  async lookup({ parent, name }: ValueOf<'lookup'>, context: FsContext): Promise<ResultOf<'lookup'>> {
    const { node: directory } = this.#on.nodes.getDirectory(parent);
    const node = await this.#on.provider.lookup(directory, nameOf(name), context);
    if (node === undefined) throw new FsError('ENOENT');
    return this.#on.entryOf(node, context);
  }

  getattr(node: ValueOf<'getattr'>, context: FsContext): Promise<ResultOf<'getattr'>> {
    return this.#on.attributesOf(this.#on.nodes.get(node), context);
  }

  async readlink(id: ValueOf<'readlink'>, context: FsContext): Promise<ResultOf<'readlink'>> {
    const { node, type } = this.#on.nodes.get(id);
    if (type !== 'symlink') throw new FsError('EINVAL');
    const target = await this.#on.provider.readlink?.(node, context);
    if (target === undefined) throw new TypeError('the provider has no method `readlink`');
    return Uint8Array.from(checkedTarget(target));
  }

  async read({ handle, offset, length }: ValueOf<'read'>, context: FsContext): Promise<ResultOf<'read'>> {
    const { known } = this.#on.files.file(handle);
    const bytes = await this.#on.provider.read(known.node, { offset, length }, context);
    if (!(bytes instanceof Uint8Array)) throw new TypeError('read returned no Uint8Array');
    // a copy of the part, as it is transferred to the thread
    return Uint8Array.from(bytes.subarray(0, length));
  }

  opendir(id: ValueOf<'opendir'>): Opened {
    const known = this.#on.nodes.getDirectory(id);
    this.#on.files.requireOne();
    return { handle: this.#on.files.add({ kind: 'directory', known, entries: undefined }) };
  }

  async readdir(
    { handle, offset, count, plus }: ValueOf<'readdir'>,
    context: FsContext,
  ): Promise<ResultOf<'readdir'>> {
    const directory = this.#on.files.directory(handle);
    // `rewinddir` reads the directory again
    if (offset === 0) directory.entries = undefined;
    const entries = await (directory.entries ??= this.#entriesOf(directory, context));
    const dots = DOTS.slice(offset).map((name, i) => ({
      name,
      inode: UNKNOWN_INODE,
      type: typeBits('directory'),
      next: offset + i + 1,
    }));
    const first = Math.max(0, offset - DOTS.length);
    const some = entries.slice(first, first + count - dots.length);
    const listed = await Promise.all(
      some.map((entry, i) =>
        this.#listed({ entry, next: first + i + 1 + DOTS.length, plus, directory }, context),
      ),
    );
    return [...dots, ...listed];
  }

  async statfs(_: ValueOf<'statfs'>, context: FsContext): Promise<FileSystemStatus> {
    const space = (await this.#on.provider.statfs?.(context)) ?? UNKNOWN_SPACE;
    const free = Math.floor(space.free / BLOCK_SIZE);
    return {
      blocks: Math.ceil(space.size / BLOCK_SIZE),
      blocksFree: free,
      blocksAvailable: free,
      files: space.files ?? 0,
      filesFree: space.filesFree ?? 0,
      blockSize: BLOCK_SIZE,
      nameLength: MAX_NAME_BYTES,
      fragmentSize: BLOCK_SIZE,
    };
  }

  async #entriesOf({ known }: OpenDirectory, context: FsContext): Promise<readonly FsEntry<unknown>[]> {
    const entries: FsEntry<unknown>[] = [];
    for await (const entry of await this.#on.provider.readdir(known.node, context)) {
      if (context.signal.aborted) throw new FsError('EIO');
      entries.push(entry);
    }
    return entries;
  }

  async #listed({ entry, next, plus, directory }: ListedOptions, context: FsContext): Promise<ListedEntry> {
    const name = checkedName(entry.name);
    const unknown = { name: Uint8Array.from(name), inode: UNKNOWN_INODE, next };
    if (!plus) return { ...unknown, type: entry.type === undefined ? 0 : typeBits(entry.type) };
    try {
      const node = entry.node ?? (await this.#on.provider.lookup(directory.known.node, entry.name, context));
      if (node === undefined) return { ...unknown, type: 0 };
      const found = await this.#on.entryOf(node, context);
      const { inode, mode } = found.attributes;
      return { ...unknown, inode, type: mode & 0o170_000, found };
    } catch {
      // the entry is listed, and a lookup of it reports the error
      return { ...unknown, type: 0 };
    }
  }
}

interface ListedOptions {
  readonly entry: FsEntry<unknown>;
  readonly next: number;
  readonly plus: boolean;
  readonly directory: OpenDirectory;
}
