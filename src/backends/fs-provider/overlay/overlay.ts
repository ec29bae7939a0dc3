import { constants } from 'node:fs';
import { link, mkdir, open, readlink, statfs, symlink, type FileHandle } from 'node:fs/promises';
import { loadLibc } from '../../../native/libc.ts';
import { typeBits } from '../attributes.ts';
import { FsError } from '../errors.ts';
import { nameOf } from '../names.ts';
import type {
  FsAttributeChange,
  FsAttributes,
  FsContext,
  FsEntry,
  FsName,
  FsNewNode,
  FsOpenMode,
  FsPlace,
  FsProvider,
  FsRange,
  FsSpace,
} from '../provider.ts';
import { changeAttributes, changeOpen } from './attribute-changes.ts';
import { copyUpDirectory, giveTo } from './copy-up.ts';
import { DirectoryChanges } from './directory-changes.ts';
import { typeOfEntry } from './entry-types.ts';
import { makeNode } from './host-calls.ts';
import { KnownNodes } from './known-nodes.ts';
import { Layers } from './layers.ts';
import type { OverlayDirectory, OverlayFile, OverlayNode } from './nodes.ts';
import { OverlayFiles, openOf } from './overlay-files.ts';

/*
 * A directory of the host with the writes to it in another one. `overlay.ts` has the operations, `layers.ts` the two directories,
 * `marks.ts` whiteouts and opaque directories in the format of overlayfs, `copy-up.ts` the copy of an entry before its first change,
 * `directory-changes.ts` and `overlay-files.ts` the changes, `open-regular.ts` how files are opened, `directories.ts` the descriptors of directories, `nodes.ts` and
 * `known-nodes.ts` the nodes that the guest knows, `host-calls.ts` calls that Node lacks.
 *
 * States of a file: in the lower layer -> being copied -> in the upper layer. Changes of directories run one after the other; content is
 * copied before, in a work directory. Invariants: the lower layer is never written. Each host path is one name in the descriptor of a
 * directory, and a symbolic link is never followed: nothing outside of the layers is reached. An entry appears complete, or not at all.
 */

/** Options of {@link overlay}. */
export interface OverlayOptions {
  /** Directory of the host that the guest sees. It is not changed, and nothing else may change it. */
  readonly lower: string;
  /** Directory of the host that takes all writes. It has the format of overlayfs (`mount -t overlay -o userxattr`). */
  readonly upper: string;
}

/** A directory of the host with the writes in another one. */
export interface Overlay extends FsProvider<OverlayDirectory, OverlayFile>, AsyncDisposable {}

/**
 * Opens a directory as a file system whose writes go to another directory, as overlayfs does. The same `upper` continues where it was.
 *
 * ```ts
 * await using files = await overlay({ lower: '/srv/project', upper: '/var/tmp/changes' });
 * await vm.addFs({ tag: 'project', provider: files });
 * ```
 * A file is copied to `upper` before its first change. A directory that is in `lower` cannot be renamed (EXDEV): `mv` copies it. As an
 * ordinary user all copies and new files belong to that user. Extended attributes of files are not shown.
 *
 * Needs Node: Bun and Deno cannot read names that are bytes. Rejects with an error that names the path where a directory cannot be
 * used, or `upper` is in use.
 */
export async function overlay({ lower, upper }: OverlayOptions): Promise<Overlay> {
  if ('Bun' in globalThis || 'Deno' in globalThis) throw new Error('overlay() needs Node');
  await loadLibc();
  return new OverlayProvider(await Layers.open(lower, upper));
}

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;

class OverlayProvider implements Overlay {
  readonly root: OverlayDirectory;
  readonly #layers: Layers;
  readonly #nodes = new KnownNodes();
  readonly #changes: DirectoryChanges;
  readonly #files: OverlayFiles;

  constructor(layers: Layers) {
    this.#layers = layers;
    this.#changes = new DirectoryChanges(layers, this.#nodes);
    this.#files = new OverlayFiles(layers, this.#nodes, this.#changes);
    this.root = this.#nodes.root;
  }

  async lookup(directory: OverlayDirectory, name: FsName): Promise<OverlayNode | undefined> {
    const found = await this.#layers.find(directory, name);
    return found === undefined ? undefined : this.#nodes.take(directory, name, found);
  }

  async getattr(node: OverlayNode): Promise<FsAttributes> {
    const stats = await this.#files.statsOf(node);
    return {
      type: typeOfEntry(stats),
      mode: Number(stats.mode & 0o7777n),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      links: node.kind === 'directory' ? 1 : Number(stats.nlink),
      inode: node.inode,
      device: Number(stats.rdev),
      size: Number(stats.size),
      allocated: Number(stats.blocks) * 512,
      modified: stats.mtimeNs,
      accessed: stats.atimeNs,
      changed: stats.ctimeNs,
    };
  }

  async readdir(directory: OverlayDirectory): Promise<FsEntry<OverlayNode>[]> {
    const listed = await this.#layers.list(directory);
    return Array.from(listed.values(), ({ name, type }) => ({ name, type }));
  }

  async read(file: OverlayFile, { offset, length }: FsRange): Promise<Uint8Array> {
    const buffer = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await openOf(file).handle.read(buffer, done, length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return buffer.subarray(0, done);
  }

  async readlink(file: OverlayFile): Promise<FsName> {
    const target = await this.#files.use(file, (path) => readlink(path, 'buffer'));
    return nameOf(target);
  }

  async open(file: OverlayFile, { write }: FsOpenMode): Promise<void> {
    if (write) await this.#files.copyUp(file);
    if (file.open === undefined || (write && !file.open.isWritable)) await this.#files.openAgain(file, write);
    file.opens++;
  }

  async close(file: OverlayFile): Promise<void> {
    if (--file.opens > 0) return;
    const { open: opened } = file;
    file.open = undefined;
    await opened?.handle.close();
  }

  forget(node: OverlayNode): void {
    this.#nodes.forget(node);
    if (node.kind !== 'directory') return;
    this.#layers.upper.drop(node);
    this.#layers.lower.drop(node);
  }

  async statfs(): Promise<FsSpace> {
    const space = await this.#layers.upper.use(this.root, (fd) => statfs(`/proc/self/fd/${fd}`));
    const { bsize, blocks, bavail, files, ffree } = space;
    return { size: blocks * bsize, free: bavail * bsize, files, filesFree: ffree };
  }

  async write(file: OverlayFile, data: Uint8Array, offset: number): Promise<void> {
    if (file.open?.isWritable !== true) throw new FsError('EBADF');
    const { handle } = file.open;
    for (let done = 0; done < data.length;) {
      const { bytesWritten } = await handle.write(data, done, data.length - done, offset + done);
      done += bytesWritten;
    }
  }

  async create(
    directory: OverlayDirectory,
    name: FsName,
    mode: number,
    context: FsContext,
  ): Promise<OverlayFile> {
    const opened: { handle?: FileHandle } = {};
    try {
      const made = await this.#changes.make(directory, name, async (work) => {
        opened.handle = await open(work, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
        await giveTo(work, context.uid, context.gid);
        await opened.handle.chmod(mode);
      });
      const file = asFile(made);
      if (opened.handle !== undefined) file.open = { handle: opened.handle, isWritable: true };
      file.opens++;
      return file;
    } catch (error) {
      await opened.handle?.close();
      throw error;
    }
  }

  async mkdir(
    directory: OverlayDirectory,
    name: FsName,
    mode: number,
    context: FsContext,
  ): Promise<OverlayDirectory> {
    const made = await this.#changes.make(directory, name, async (work) => {
      await mkdir(work, 0o700);
      await giveTo(work, context.uid, context.gid);
      await changeAttributes(work, { mode });
    });
    if (made.kind !== 'directory') throw new FsError('ESTALE');
    return made;
  }

  async symlink(
    directory: OverlayDirectory,
    name: FsName,
    target: FsName,
    context: FsContext,
  ): Promise<OverlayFile> {
    const made = await this.#changes.make(directory, name, async (work) => {
      await symlink(typeof target === 'string' ? target : Buffer.from(target), work);
      await giveTo(work, context.uid, context.gid);
    });
    return asFile(made);
  }

  async mknod(place: FsPlace<OverlayDirectory>, node: FsNewNode, context: FsContext): Promise<OverlayFile> {
    // a device with the number 0 would be a whiteout, and an ordinary user creates none
    if (node.type === 'character' && node.device === 0) throw new FsError('EPERM');
    const made = await this.#changes.make(place.directory, place.name, async (work) => {
      makeNode(work, typeBits(node.type) | 0o600, node.device);
      await giveTo(work, context.uid, context.gid);
      await changeAttributes(work, { mode: node.mode });
    });
    return asFile(made);
  }

  async link(file: OverlayFile, directory: OverlayDirectory, name: FsName): Promise<void> {
    await this.#files.copyUp(file);
    const made = await this.#changes.make(directory, name, (work) =>
      this.#files.use(file, (path) => link(path, work)),
    );
    if (made !== file) throw new FsError('ESTALE');
  }

  unlink(directory: OverlayDirectory, name: FsName): Promise<void> {
    return this.#changes.unlink(directory, name);
  }

  rmdir(directory: OverlayDirectory, name: FsName): Promise<void> {
    return this.#changes.rmdir(directory, name);
  }

  async rename(from: FsPlace<OverlayDirectory>, to: FsPlace<OverlayDirectory>): Promise<void> {
    const node = await this.lookup(from.directory, from.name);
    if (node === undefined) throw new FsError('ENOENT');
    if (node.kind === 'directory' && node.isLower) throw new FsError('EXDEV');
    if (node.kind === 'file') await this.#files.copyUp(node);
    await this.#changes.rename(node, from, to);
  }

  async setattr(node: OverlayNode, change: FsAttributeChange): Promise<void> {
    if (node.kind === 'file') {
      await this.#files.copyUp(node);
      if (change.size !== undefined) await this.#files.truncate(node, change.size);
    } else await this.#changes.run(() => copyUpDirectory(this.#layers, node));
    if (node.kind === 'file' && node.places.length === 0) await changeOpen(openOf(node).handle, change);
    else await this.#files.use(node, (path) => changeAttributes(path, change));
  }

  async sync(node: OverlayNode): Promise<void> {
    if (node.kind === 'file') await node.open?.handle.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#changes.settled();
    await this.#layers[Symbol.asyncDispose]();
  }
}

function asFile(node: OverlayNode): OverlayFile {
  if (node.kind !== 'file') throw new FsError('ESTALE');
  return node;
}
