import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { entryPath } from './host-calls.ts';
import type { OverlayDirectory } from './nodes.ts';

const O_PATH = 0o10_000_000;
const { O_DIRECTORY, O_NOFOLLOW } = constants;

/** Descriptors of directories that a layer keeps open without use. */
const KEPT = 128;

interface Kept {
  readonly handle: Promise<FileHandle>;
  users: number;
  /** to be closed when the last user is done */
  isDropped: boolean;
}

/**
 * The directories of a layer, by descriptors. One is opened by its name in the descriptor of its parent, and is never a symbolic link:
 * nothing leads out of the layer, whatever is swapped on the host meanwhile. The number of open descriptors is bounded.
 */
export class LayerDirectories implements AsyncDisposable {
  readonly #root: FileHandle;
  /** in the order of use */
  readonly #kept = new Map<OverlayDirectory, Kept>();

  constructor(root: FileHandle) {
    this.#root = root;
  }

  /** Opens a layer. The path itself may be a symbolic link. */
  static async open(path: string): Promise<LayerDirectories> {
    return new LayerDirectories(await open(path, O_PATH | O_DIRECTORY));
  }

  /** Calls `act` with the descriptor of a directory. */
  async use<T>(directory: OverlayDirectory, act: (fd: number) => Promise<T> | T): Promise<T> {
    const { parent, name } = directory;
    if (parent === undefined) return act(this.#root.fd);
    const kept = this.#kept.get(directory) ?? this.#open(directory, parent, name);
    // the last one in the order of use
    this.#kept.delete(directory);
    this.#kept.set(directory, kept);
    kept.users++;
    try {
      return await act((await kept.handle).fd);
    } catch (error) {
      this.drop(directory);
      throw error;
    } finally {
      kept.users--;
      if (kept.isDropped) this.#close(kept);
      this.#closeUnused();
    }
  }

  /** Opens the directory again at its next use: it was moved or replaced. */
  drop(directory: OverlayDirectory): void {
    const kept = this.#kept.get(directory);
    if (kept === undefined) return;
    this.#kept.delete(directory);
    this.#close(kept);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const handles = await Promise.allSettled([...this.#kept.values()].map(({ handle }) => handle));
    this.#kept.clear();
    for (const one of handles) if (one.status === 'fulfilled') await one.value.close();
    await this.#root.close();
  }

  #open(directory: OverlayDirectory, parent: OverlayDirectory, name: OverlayDirectory['name']): Kept {
    const handle = this.use(parent, (fd) => open(entryPath(fd, name), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    handle.catch(() => this.#kept.delete(directory));
    return { handle, users: 0, isDropped: false };
  }

  #closeUnused(): void {
    for (const [directory, kept] of this.#kept) {
      if (this.#kept.size <= KEPT) return;
      if (kept.users > 0) continue;
      this.#kept.delete(directory);
      this.#close(kept);
    }
  }

  /** Closes a descriptor once nothing uses it. */
  #close(kept: Kept): void {
    kept.isDropped = true;
    if (kept.users === 0) kept.handle.then((handle) => handle.close()).catch(() => undefined);
  }
}
