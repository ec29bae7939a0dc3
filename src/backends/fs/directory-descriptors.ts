import { libc } from '../../native/libc.ts';
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../../native/open-flags.ts';
import { ESTALE, lastError, staleIfGone } from './errors.ts';
import type { HostStatus } from './host-status.ts';
import { ROOT_INODE, type Inode, type InodeTable } from './inode-table.ts';

const FLAGS = O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC;

/** Deepest directory below one with an open descriptor. A host that moves directories meanwhile can make a cycle of links. */
const MAX_DEPTH = 65_536;

interface DirectoriesOptions {
  readonly table: InodeTable;
  readonly status: HostStatus;
  /** descriptor of the shared directory */
  readonly root: number;
  readonly limit: number;
  readonly highest?: number;
}

/** Descriptors that are needed at a time: `rename` uses two directories. */
const FEWEST = 2;

/**
 * O_PATH descriptors of directories, at most `limit` and that of the root: the least recently used one is closed for another. Their number
 * does not grow with descriptors above `highest`, as those are for the rest of the process.
 *
 * A directory without one is reached from its nearest ancestor that has one, a component at a time and following no symlink. Each
 * directory on the way must be the one that the guest has looked up: else the result is ESTALE.
 */
export class DirectoryDescriptors {
  readonly #table: InodeTable;
  readonly #status: HostStatus;
  readonly #root: number;
  readonly #limit: number;
  readonly #highest: number;
  /** in order of use, the most recent at the end */
  readonly #descriptors = new Map<Inode, number>();
  #newest: Inode = 0;

  /** `root` is the descriptor of the shared directory, which the caller closes. */
  constructor(from: DirectoriesOptions) {
    this.#table = from.table;
    this.#status = from.status;
    this.#root = from.root;
    this.#limit = Math.max(from.limit, FEWEST);
    this.#highest = from.highest ?? Infinity;
  }

  /** number of open descriptors without that of the root */
  get count(): number {
    return this.#descriptors.size;
  }

  /** Returns the descriptor of a directory if it is open, else -1. */
  peek(inode: Inode): number {
    return inode === ROOT_INODE ? this.#root : (this.#descriptors.get(inode) ?? -1);
  }

  /** Returns the descriptor of a directory, which stays open until the call after the next one; or -errno. */
  get(inode: Inode): number {
    if (inode === ROOT_INODE) return this.#root;
    const open = this.#descriptors.get(inode);
    if (open === undefined) return this.#reopen(inode);
    if (inode !== this.#newest) {
      this.#descriptors.delete(inode);
      this.#descriptors.set(inode, open);
      this.#newest = inode;
    }
    return open;
  }

  /** Stores the descriptor of a directory, which this class closes. */
  put(inode: Inode, fd: number): void {
    this.close(inode);
    const limit = fd > this.#highest ? FEWEST : this.#limit;
    if (this.#descriptors.size >= limit) this.#closeOldest();
    this.#descriptors.set(inode, fd);
    this.#newest = inode;
  }

  /** Closes the descriptor of a directory. */
  close(inode: Inode): void {
    const fd = this.#descriptors.get(inode);
    if (fd === undefined) return;
    libc().close(fd);
    this.#descriptors.delete(inode);
  }

  closeAll(): void {
    for (const fd of this.#descriptors.values()) libc().close(fd);
    this.#descriptors.clear();
    this.#newest = 0;
  }

  #closeOldest(): void {
    for (const inode of this.#descriptors.keys()) return this.close(inode);
  }

  /** Opens a directory from its nearest ancestor with a descriptor. */
  #reopen(inode: Inode): number {
    const way: Inode[] = [];
    let at = inode;
    while (this.peek(at) < 0) {
      const link = this.#table.firstLink(at);
      if (link === 0 || way.length === MAX_DEPTH) return -ESTALE;
      way.push(at);
      at = this.#table.links.parentOf(link);
    }
    const start = this.peek(at);
    let from = start;
    for (let next = way.pop(); next !== undefined; next = way.pop()) {
      const fd = this.#openChild(from, next);
      if (from !== start) libc().close(from);
      if (fd < 0) return fd;
      from = fd;
    }
    this.put(inode, from);
    return from;
  }

  #openChild(parent: number, inode: Inode): number {
    const name = this.#table.links.nameAddress(this.#table.firstLink(inode));
    const fd = libc().openat(parent, name, FLAGS, 0);
    if (fd < 0) return -staleIfGone(lastError());
    const status = this.#status.ofDescriptor(fd);
    if (typeof status !== 'number' && this.#table.isSame(inode, this.#status.identity(status))) return fd;
    libc().close(fd);
    return typeof status === 'number' ? -status : -ESTALE;
  }
}
