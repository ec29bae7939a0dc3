import { grownRows, lengthen } from './columns.ts';
import { NameArena } from './name-arena.ts';

/** Number of a link: a row of the table; 0 is none. */
export type Link = number;

/** Rows of an empty table. */
const FIRST_ROWS = 256;

/**
 * Names of inodes: a link is a directory, a name in it, and the inode that was found there. The links of an inode are a list, the
 * newest first.
 *
 * The columns are typed arrays: a link costs 16 bytes and its name.
 */
export class LinkTable {
  #inode = new Uint32Array(FIRST_ROWS);
  #parent = new Uint32Array(FIRST_ROWS);
  #name = new Uint32Array(FIRST_ROWS);
  /** next link of the inode, or next free row */
  #next = new Uint32Array(FIRST_ROWS);
  #rows = 1;
  #free: Link = 0;
  #count = 0;
  readonly #names = new NameArena((link, to) => (this.#name[link] = to));

  /** number of links */
  get count(): number {
    return this.#count;
  }

  /** Adds a link in front of the list that starts at `next`. */
  add(inode: number, parent: number, name: Uint8Array, next: Link): Link {
    const link = this.#takeRow();
    this.#count++;
    this.#inode[link] = inode;
    this.#parent[link] = parent;
    this.#name[link] = this.#names.add(link, name);
    this.#next[link] = next;
    return link;
  }

  /** Frees a link that is in no list. */
  remove(link: Link): void {
    this.#names.remove(this.#name[link] ?? 0);
    this.#count--;
    this.#inode[link] = 0;
    this.#next[link] = this.#free;
    this.#free = link;
  }

  parentOf(link: Link): number {
    return this.#parent[link] ?? 0;
  }

  nextOf(link: Link): Link {
    return this.#next[link] ?? 0;
  }

  setNext(link: Link, next: Link): void {
    this.#next[link] = next;
  }

  /** Address of the name that ends with a NUL, valid until the table changes. */
  nameAddress(link: Link): number {
    return this.#names.addressOf(this.#name[link] ?? 0);
  }

  /** The name, valid until the table changes. */
  nameBytes(link: Link): Uint8Array {
    return this.#names.bytesOf(this.#name[link] ?? 0);
  }

  /** Returns whether a link is at a place. */
  isAt(link: Link, parent: number, name: Uint8Array): boolean {
    return this.#parent[link] === parent && this.#names.equals(this.#name[link] ?? 0, name);
  }

  /** bytes of memory of the columns and the names */
  get bytes(): number {
    return this.#inode.length * 16 + this.#names.bytes;
  }

  clear(): void {
    this.#names.clear();
    this.#rows = 1;
    this.#free = 0;
    this.#count = 0;
    this.#inode = new Uint32Array(FIRST_ROWS);
    this.#parent = new Uint32Array(FIRST_ROWS);
    this.#name = new Uint32Array(FIRST_ROWS);
    this.#next = new Uint32Array(FIRST_ROWS);
  }

  #takeRow(): Link {
    const link = this.#free;
    if (link !== 0) {
      this.#free = this.nextOf(link);
      return link;
    }
    if (this.#rows === this.#inode.length) this.#grow();
    return this.#rows++;
  }

  #grow(): void {
    const rows = grownRows(this.#rows);
    this.#inode = lengthen(this.#inode, rows);
    this.#parent = lengthen(this.#parent, rows);
    this.#name = lengthen(this.#name, rows);
    this.#next = lengthen(this.#next, rows);
  }
}
