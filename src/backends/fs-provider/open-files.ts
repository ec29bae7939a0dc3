import type { Handle } from '../fuse/file-system.ts';
import { FsError } from './errors.ts';
import type { KnownNode, Nodes } from './nodes.ts';
import type { FsEntry, FsOpenMode } from './provider.ts';

/** Most open files and directories of a guest. */
export const MAX_HANDLES = 65_536;

/** A file that the guest has opened. */
export interface OpenFile {
  readonly kind: 'file';
  readonly known: KnownNode;
  readonly mode: FsOpenMode;
}

/** A directory that the guest reads. */
export interface OpenDirectory {
  readonly kind: 'directory';
  readonly known: KnownNode;
  /** the entries when the guest began to read; undefined before */
  entries: Promise<readonly FsEntry<unknown>[]> | undefined;
}

/** The open files and directories of a guest. Numbers are never used again. */
export class OpenFiles {
  readonly #all = new Map<Handle, OpenFile | OpenDirectory>();
  readonly #nodes: Nodes;
  readonly #onClosed: (file: OpenFile) => void;
  #next: Handle = 1;

  constructor(nodes: Nodes, onClosed: (file: OpenFile) => void) {
    this.#nodes = nodes;
    this.#onClosed = onClosed;
  }

  get size(): number {
    return this.#all.size;
  }

  /** @throws FsError with EMFILE where the guest has too many */
  requireOne(): void {
    if (this.#all.size >= MAX_HANDLES) throw new FsError('EMFILE');
  }

  add(file: OpenFile | OpenDirectory): Handle {
    const handle = this.#next++;
    file.known.opened++;
    this.#all.set(handle, file);
    return handle;
  }

  /** @throws FsError with EBADF where it is no open file */
  file(handle: Handle): OpenFile {
    const found = this.#all.get(handle);
    if (found?.kind !== 'file') throw new FsError('EBADF');
    return found;
  }

  /** @throws FsError with EBADF where it is no open directory */
  directory(handle: Handle): OpenDirectory {
    const found = this.#all.get(handle);
    if (found?.kind !== 'directory') throw new FsError('EBADF');
    return found;
  }

  release(handle: Handle): void {
    const found = this.#all.get(handle);
    if (found === undefined) return;
    this.#all.delete(handle);
    found.known.opened--;
    if (found.kind === 'file') this.#onClosed(found);
    this.#nodes.dropUnused(found.known);
  }

  reset(): void {
    for (const handle of this.#all.keys()) this.release(handle);
  }
}
