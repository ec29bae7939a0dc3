import { constants, type BigIntStats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { FsError } from '../errors.ts';
import { copyToWork, copyUpDirectory } from './copy-up.ts';
import type { DirectoryChanges } from './directory-changes.ts';
import { entryPath } from './host-calls.ts';
import { identityOf, type KnownNodes } from './known-nodes.ts';
import type { Layers } from './layers.ts';
import type { OverlayFile, OverlayNode } from './nodes.ts';
import { openRegular } from './open-regular.ts';

const { O_RDONLY, O_RDWR } = constants;

/** Files of the layers: their copies in the upper layer, and their descriptors while the guest has them open. */
export class OverlayFiles {
  readonly #layers: Layers;
  readonly #nodes: KnownNodes;
  readonly #changes: DirectoryChanges;

  constructor(layers: Layers, nodes: KnownNodes, changes: DirectoryChanges) {
    this.#layers = layers;
    this.#nodes = nodes;
    this.#changes = changes;
  }

  /** Copies a file to the upper layer, if it is not there yet. */
  copyUp(file: OverlayFile): Promise<void> {
    if (file.isUpper) return Promise.resolve();
    file.copying ??= this.#copy(file).finally(() => (file.copying = undefined));
    return file.copying;
  }

  async #copy(file: OverlayFile): Promise<void> {
    const work = await copyToWork(this.#layers, file);
    await this.#changes
      .run(async () => {
        const [place] = file.places;
        if (place === undefined) throw new FsError('ESTALE');
        await copyUpDirectory(this.#layers, place.directory);
        const identity = identityOf(await lstat(work, { bigint: true }));
        await this.#layers.place(work, place.directory, place.name);
        this.#nodes.copied(file, identity);
        // reads of the guest's open files get the copy
        if (file.open !== undefined) await this.openAgain(file, false);
      })
      .catch(async (error: unknown) => {
        await this.#layers.removeWork(work);
        throw error;
      });
  }

  async openAgain(file: OverlayFile, isWritable: boolean): Promise<void> {
    const flags = isWritable ? O_RDWR : O_RDONLY;
    const handle = await this.use(file, (path) => openRegular(path, flags));
    const { open: former } = file;
    if (former?.isWritable === true) return handle.close();
    file.open = { handle, isWritable };
    // pending reads are completed first
    await former?.handle.close();
    return undefined;
  }

  async truncate(file: OverlayFile, size: number): Promise<void> {
    if (file.open?.isWritable === true) return file.open.handle.truncate(size);
    const handle = await this.use(file, (path) => openRegular(path, O_RDWR));
    try {
      await handle.truncate(size);
    } finally {
      await handle.close();
    }
    return undefined;
  }

  async statsOf(node: OverlayNode): Promise<BigIntStats> {
    if (node.kind === 'file' && node.places.length === 0) return openOf(node).handle.stat({ bigint: true });
    return this.use(node, (path) => lstat(path, { bigint: true }));
  }

  /** Calls `act` with a path of a node in its layer. */
  async use<T>(node: OverlayNode, act: (path: Buffer) => Promise<T> | T): Promise<T> {
    const layer = node.isUpper ? this.#layers.upper : this.#layers.lower;
    if (node.kind === 'directory') return layer.use(node, (fd) => act(Buffer.from(`/proc/self/fd/${fd}/.`)));
    const [place] = node.places;
    if (place === undefined) throw new FsError('ESTALE');
    return layer.use(place.directory, (fd) => act(entryPath(fd, place.name)));
  }
}

/** @throws FsError with EBADF where the guest does not have the file open */
export function openOf({ open: opened }: OverlayFile): NonNullable<OverlayFile['open']> {
  if (opened === undefined) throw new FsError('EBADF');
  return opened;
}
