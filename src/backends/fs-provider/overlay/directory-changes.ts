import { lstat } from 'node:fs/promises';
import { FsError } from '../errors.ts';
import type { FsName, FsPlace } from '../provider.ts';
import { copyUpDirectory } from './copy-up.ts';
import { entryPath } from './host-calls.ts';
import type { KnownNodes } from './known-nodes.ts';
import type { Layers } from './layers.ts';
import { makeOpaque } from './marks.ts';
import type { Found, OverlayDirectory, OverlayNode } from './nodes.ts';

/** Changes of directories, which run one after the other. */
export class DirectoryChanges {
  readonly #layers: Layers;
  readonly #nodes: KnownNodes;
  /** the last change */
  #last: Promise<unknown> = Promise.resolve();

  constructor(layers: Layers, nodes: KnownNodes) {
    this.#layers = layers;
    this.#nodes = nodes;
  }

  /** Runs a change after the earlier ones. */
  run<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#last.then(act, act);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Settles when the changes so far are complete. */
  async settled(): Promise<void> {
    await this.#last;
  }

  unlink(directory: OverlayDirectory, name: FsName): Promise<void> {
    return this.run(async () => {
      const found = await this.#require(directory, name);
      if (found.stats.isDirectory()) throw new FsError('EISDIR');
      await this.#remove(directory, name);
    });
  }

  rmdir(directory: OverlayDirectory, name: FsName): Promise<void> {
    return this.run(async () => {
      await this.#requireEmpty(directory, name, await this.#require(directory, name));
      await this.#remove(directory, name);
    });
  }

  /** Moves a file, or a directory, of the upper layer. */
  rename(node: OverlayNode, from: FsPlace<OverlayDirectory>, to: FsPlace<OverlayDirectory>): Promise<void> {
    return this.run(() => this.#move(node, from, to));
  }

  /** Creates an entry in the work directory and moves it to its place. */
  make(
    directory: OverlayDirectory,
    name: FsName,
    create: (work: Buffer) => Promise<unknown>,
  ): Promise<OverlayNode> {
    return this.run(async () => {
      if ((await this.#layers.find(directory, name)) !== undefined) throw new FsError('EEXIST');
      await copyUpDirectory(this.#layers, directory);
      const work = this.#layers.newWorkPath();
      try {
        await create(work);
        const isDirectory = (await lstat(work)).isDirectory();
        if (isDirectory && (await this.#isLower(directory, name))) makeOpaque(work);
        await this.#layers.place(work, directory, name);
      } catch (error) {
        await this.#layers.removeWork(work);
        throw error;
      }
      return this.#nodes.take(directory, name, await this.#require(directory, name));
    });
  }

  async #move(
    node: OverlayNode,
    from: FsPlace<OverlayDirectory>,
    to: FsPlace<OverlayDirectory>,
  ): Promise<void> {
    const replaced = await this.#layers.find(to.directory, to.name);
    if (replaced !== undefined) {
      if (node.kind === 'directory') await this.#requireEmpty(to.directory, to.name, replaced);
      else if (replaced.stats.isDirectory()) throw new FsError('EISDIR');
      else if (this.#nodes.take(to.directory, to.name, replaced) === node) return;
    }
    await copyUpDirectory(this.#layers, to.directory);
    if (node.kind === 'directory' && replaced !== undefined) await this.#remove(to.directory, to.name);
    // entries of the lower layer at the new place must stay hidden
    if (node.kind === 'directory' && (await this.#isLower(to.directory, to.name)))
      await this.#layers.upper.use(node, (fd) => makeOpaque(Buffer.from(`/proc/self/fd/${fd}/.`)));
    await this.#layers.upper.use(from.directory, (fd) =>
      this.#layers.place(entryPath(fd, from.name), to.directory, to.name),
    );
    if (await this.#isLower(from.directory, from.name)) await this.#layers.hide(from.directory, from.name);
    this.#nodes.move(node, from, to);
  }

  /** Removes the visible entry of a place. */
  async #remove(directory: OverlayDirectory, name: FsName): Promise<void> {
    if (await this.#isLower(directory, name)) {
      await copyUpDirectory(this.#layers, directory);
      await this.#layers.hide(directory, name);
    } else await this.#layers.remove(directory, name);
    this.#nodes.remove(directory, name);
  }

  async #require(directory: OverlayDirectory, name: FsName): Promise<Found> {
    const found = await this.#layers.find(directory, name);
    if (found === undefined) throw new FsError('ENOENT');
    return found;
  }

  async #requireEmpty(directory: OverlayDirectory, name: FsName, found: Found): Promise<void> {
    const node = this.#nodes.take(directory, name, found);
    if (node.kind !== 'directory') throw new FsError('ENOTDIR');
    if ((await this.#layers.list(node)).size > 0) throw new FsError('ENOTEMPTY');
  }

  async #isLower(directory: OverlayDirectory, name: FsName): Promise<boolean> {
    return directory.isLower && (await this.#layers.lowerEntry(directory, name)) !== undefined;
  }
}
