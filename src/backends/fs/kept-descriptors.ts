import { libc } from '../../native/libc.ts';
import type { Inode } from './inode-table.ts';

/**
 * O_PATH descriptors of inodes that the guest knows and that have no name any more: they keep the file until the guest drops its last
 * reference. At most `limit`: the oldest one is closed for another, and its inode is lost unless it is open.
 */
export class KeptDescriptors {
  readonly #limit: number;
  readonly #highest: number;
  readonly #descriptors = new Map<Inode, number>();

  /** No descriptor is above `highest`, as in the open files. */
  constructor(limit: number, highest = Infinity) {
    this.#limit = Math.max(limit, 1);
    this.#highest = highest;
  }

  get count(): number {
    return this.#descriptors.size;
  }

  /** Returns the descriptor of an inode, -1 where it has none. */
  get(inode: Inode): number {
    return this.#descriptors.size === 0 ? -1 : (this.#descriptors.get(inode) ?? -1);
  }

  /** Stores a descriptor, which this class closes. */
  put(inode: Inode, fd: number): void {
    this.close(inode);
    if (this.#descriptors.size >= this.#limit) this.#closeOldest();
    if (fd > this.#highest) libc().close(fd);
    else this.#descriptors.set(inode, fd);
  }

  /** Closes the descriptor of an inode that is removed, or has a name again. */
  close(inode: Inode): void {
    const fd = this.get(inode);
    if (fd < 0) return;
    libc().close(fd);
    this.#descriptors.delete(inode);
  }

  closeAll(): void {
    for (const fd of this.#descriptors.values()) libc().close(fd);
    this.#descriptors.clear();
  }

  /** inodes with a descriptor */
  inodes(): Iterable<Inode> {
    return this.#descriptors.keys();
  }

  #closeOldest(): void {
    for (const inode of this.#descriptors.keys()) return this.close(inode);
  }
}
