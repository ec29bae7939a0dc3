import { grownRows, lengthen } from './columns.ts';
import { LinkTable, type Link } from './link-table.ts';

/*
 * The inodes that the guest knows.
 *
 * An inode is a row of typed arrays; its number is the node id on the wire. It is found by its device and inode numbers on the host
 * (a hash table with chains in a column), and reached on the host by its links: a directory, which is an inode of the table too, and
 * a name in it. An inode stays while the guest has references to it (lookups) or while it is the directory of a link.
 *
 * An inode costs 33 bytes, 4 bytes of the hash table, and a link of 16 bytes with its name.
 *
 * Invariants: row 1 is the root, which has no link and is never removed. A directory has at most one link, another inode at most
 * {@link MAX_LINKS}. Each link counts in `children` of its directory. A row that is not in use is in the list of free rows.
 */

/** Number of an inode: a row of the table. */
export type Inode = number;

export const ROOT_INODE: Inode = 1;

/** Most names that an inode is reached by; older ones are dropped. */
export const MAX_LINKS = 8;

/** Identity of a file on the host. */
export interface Identity {
  /** number of the device, as Linux encodes it in 32 bits */
  readonly device: number;
  readonly inode: bigint;
  /** digest of the time at which the file was made, as inode numbers are used again; 0: unknown */
  readonly birth: number;
  /** type: `st_mode` >> 12 */
  readonly type: number;
}

/** An inode that was saved. */
export interface RestoredInode {
  readonly inode: Inode;
  readonly identity: Identity;
  readonly lookups: number;
  /** the oldest first */
  readonly links: readonly { readonly parent: Inode; readonly name: Uint8Array }[];
}

export const DIRECTORY_TYPE = 4;
export const REGULAR_TYPE = 8;

/** Inodes are below it; a guest that looks up more gets ENOMEM. They cost about 500 MiB. */
export const MAX_INODES = 2 ** 22;

/**
 * Most links by which all inodes are reached: beyond it each keeps its newest one, so there are at most so many more as inodes. Names of
 * 255 bytes then fit the arena, which has 4 GiB, also where every second byte of it is of names that are removed.
 */
export const MAX_ALL_LINKS = 2 ** 21;

/** Lookups of a row that is not in use. */
const UNUSED = -1;
/** Rows of an empty table. */
const FIRST_ROWS = 256;

export class InodeTable {
  #device = new Uint32Array(FIRST_ROWS);
  #inode = new BigUint64Array(FIRST_ROWS);
  #birth = new Uint32Array(FIRST_ROWS);
  #type = new Uint8Array(FIRST_ROWS);
  /** references of the guest */
  #lookups = new Float64Array(FIRST_ROWS).fill(UNUSED);
  /** links whose directory this inode is */
  #children = new Uint32Array(FIRST_ROWS);
  #firstLink = new Uint32Array(FIRST_ROWS);
  /** next inode of the chain of the hash table, or next free row */
  #next = new Uint32Array(FIRST_ROWS);
  /** first inode of each chain; the length is a power of two */
  #chains = new Uint32Array(FIRST_ROWS);
  #rows = 2;
  #free: Inode = 0;
  #count = 1;
  readonly links = new LinkTable();
  readonly #onRemoved: (inode: Inode) => void;
  readonly #maxLinks: number;

  /** `onRemoved` is called for each inode that is removed, before its row is used again. */
  constructor(root: Identity, onRemoved: (inode: Inode) => void, maxLinks = MAX_ALL_LINKS) {
    this.#maxLinks = maxLinks;
    this.#onRemoved = onRemoved;
    this.#set(ROOT_INODE, root);
    this.#lookups[ROOT_INODE] = 1;
  }

  /** number of inodes */
  get count(): number {
    return this.#count;
  }

  /** one more than the highest inode */
  get end(): number {
    return this.#rows;
  }

  /** bytes of memory of all columns, the hash table, links and names */
  get bytes(): number {
    return this.#inode.length * 33 + this.#chains.length * 4 + this.links.bytes;
  }

  /** Returns whether a number from the guest is an inode. */
  has(inode: Inode): boolean {
    return (this.#lookups[inode] ?? UNUSED) !== UNUSED;
  }

  /** Returns the inode with an identity, 0 where there is none. One that had the same numbers before is not found any more. */
  find(identity: Identity): Inode {
    let at = this.#chains[this.#chainOf(identity.device, identity.inode)] ?? 0;
    while (at !== 0) {
      const next = this.#nextOf(at);
      const hasNumbers = this.#inode[at] === identity.inode && this.#device[at] === identity.device;
      if (hasNumbers && this.isSame(at, identity)) return at;
      if (hasNumbers) this.#unchain(at);
      at = next;
    }
    return 0;
  }

  /** Returns whether an inode has an identity. */
  isSame(inode: Inode, { device, inode: number, birth, type }: Identity): boolean {
    return (
      this.#inode[inode] === number &&
      this.#device[inode] === device &&
      this.#birth[inode] === birth &&
      this.#type[inode] === type
    );
  }

  /** Adds an inode without links, which no {@link find} has found. @returns 0 where there are too many */
  add(identity: Identity): Inode {
    if (this.#free === 0 && this.#rows === MAX_INODES) return 0;
    const inode = this.#takeRow();
    this.#set(inode, identity);
    this.#lookups[inode] = 0;
    this.#count++;
    return inode;
  }

  /** Makes an empty table ready for {@link restore} of inodes below `end`. */
  reserve(end: Inode): void {
    while (this.#inode.length < end) this.#grow();
  }

  /** Adds an inode with the number that it had when it was saved, in ascending order. The directories of its links may follow. */
  restore({ inode, identity, lookups, links }: RestoredInode): void {
    for (; this.#rows < inode; this.#rows++) {
      this.#next[this.#rows] = this.#free;
      this.#free = this.#rows;
    }
    this.#rows++;
    this.#setColumns(inode, identity);
    this.#chain(inode);
    this.#lookups[inode] = lookups;
    this.#count++;
    for (const { parent, name } of links) this.#addLink(inode, parent, name);
  }

  /** Sets the identity of an inode that is another file now. */
  setIdentity(inode: Inode, identity: Identity): void {
    this.#unchain(inode);
    this.#setColumns(inode, identity);
    if (this.find(identity) === 0) this.#chain(inode);
  }

  isDirectory(inode: Inode): boolean {
    return this.#type[inode] === DIRECTORY_TYPE;
  }

  identityOf(inode: Inode): Identity {
    return {
      device: this.#device[inode] ?? 0,
      inode: this.#inode[inode] ?? 0n,
      birth: this.#birth[inode] ?? 0,
      type: this.#type[inode] ?? 0,
    };
  }

  /** references of the guest to an inode */
  lookupsOf(inode: Inode): number {
    return Math.max(this.#lookups[inode] ?? 0, 0);
  }

  /** Counts references that the guest got. */
  retain(inode: Inode, count = 1): void {
    this.#lookups[inode] = this.lookupsOf(inode) + count;
  }

  /** Counts references that the guest has dropped; removes the inode with the last one, and directories that it was the last child of. */
  forget(inode: Inode, count: number): void {
    if (inode === ROOT_INODE || !this.has(inode)) return;
    this.#lookups[inode] = Math.max(this.lookupsOf(inode) - count, 0);
    this.collect(inode);
  }

  /** Removes an inode without references and children, and then its directories that have none either. */
  collect(inode: Inode): void {
    const pending = [inode];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      if (at === ROOT_INODE || this.#lookups[at] !== 0 || this.#children[at] !== 0) continue;
      for (let link = this.firstLink(at); link !== 0; link = this.firstLink(at))
        pending.push(this.#removeFirstLink(at));
      this.#remove(at);
    }
  }

  /** Returns the newest link of an inode; 0: none. */
  firstLink(inode: Inode): Link {
    return this.#firstLink[inode] ?? 0;
  }

  /** Sets that an inode has a name in a directory: its newest link. */
  link(inode: Inode, parent: Inode, name: Uint8Array): void {
    if (inode === ROOT_INODE || !this.has(parent)) return;
    const first = this.firstLink(inode);
    if (first !== 0 && this.links.isAt(first, parent, name)) return;
    this.#addLink(inode, parent, name);
  }

  /** Sets that an inode no longer has a name in a directory. */
  unlink(inode: Inode, parent: Inode, name: Uint8Array): void {
    let before: Link = 0;
    for (let link = this.firstLink(inode); link !== 0; link = this.links.nextOf(link)) {
      if (this.links.isAt(link, parent, name)) return this.#removeLink(inode, link, before);
      before = link;
    }
  }

  /** Drops the newest link, which has led to another file, where there are others. */
  dropFirstLink(inode: Inode): void {
    const first = this.firstLink(inode);
    if (first !== 0 && this.links.nextOf(first) !== 0) this.#removeLink(inode, first, 0);
  }

  /** Removes all inodes but the root. */
  clear(): void {
    const root = this.identityOf(ROOT_INODE);
    for (let inode = ROOT_INODE + 1; inode < this.#rows; inode++) if (this.has(inode)) this.#onRemoved(inode);
    this.#resize(FIRST_ROWS);
    this.#lookups.fill(UNUSED);
    this.#firstLink.fill(0);
    this.#children.fill(0);
    this.#rows = 2;
    this.#free = 0;
    this.#count = 1;
    this.links.clear();
    this.#chains = new Uint32Array(FIRST_ROWS);
    this.#set(ROOT_INODE, root);
    this.#lookups[ROOT_INODE] = 1;
  }

  #nextOf(inode: Inode): Inode {
    return this.#next[inode] ?? 0;
  }

  #addLink(inode: Inode, parent: Inode, name: Uint8Array): void {
    // counted before the old links go, which may be the last children of the same directory
    this.#children[parent] = (this.#children[parent] ?? 0) + 1;
    if (this.isDirectory(inode)) this.#dropLinksAfter(inode, 0);
    else this.unlink(inode, parent, name);
    this.#firstLink[inode] = this.links.add(inode, parent, name, this.firstLink(inode));
    if (!this.isDirectory(inode))
      this.#dropLinksAfter(inode, this.links.count > this.#maxLinks ? 1 : MAX_LINKS);
  }

  #removeLink(inode: Inode, link: Link, before: Link): void {
    const next = this.links.nextOf(link);
    if (before === 0) this.#firstLink[inode] = next;
    else this.links.setNext(before, next);
    this.collect(this.#releaseLink(link));
  }

  /** Removes the newest link of an inode. @returns its directory, which may have to be collected */
  #removeFirstLink(inode: Inode): Inode {
    const link = this.firstLink(inode);
    this.#firstLink[inode] = this.links.nextOf(link);
    return this.#releaseLink(link);
  }

  #releaseLink(link: Link): Inode {
    const parent = this.links.parentOf(link);
    this.links.remove(link);
    this.#children[parent] = (this.#children[parent] ?? 0) - 1;
    return parent;
  }

  /** Drops the links of an inode behind its newest `count`. */
  #dropLinksAfter(inode: Inode, count: number): void {
    let before: Link = 0;
    let link = this.firstLink(inode);
    for (let i = 0; i < count && link !== 0; i++) {
      before = link;
      link = this.links.nextOf(link);
    }
    while (link !== 0) {
      const next = this.links.nextOf(link);
      this.#removeLink(inode, link, before);
      link = next;
    }
  }

  #takeRow(): Inode {
    const inode = this.#free;
    if (inode !== 0) {
      this.#free = this.#nextOf(inode);
      return inode;
    }
    if (this.#rows === this.#inode.length) this.#grow();
    return this.#rows++;
  }

  #set(inode: Inode, identity: Identity): void {
    this.#setColumns(inode, identity);
    this.#children[inode] = 0;
    this.#firstLink[inode] = 0;
    this.#chain(inode);
  }

  #setColumns(inode: Inode, { device, inode: number, birth, type }: Identity): void {
    this.#device[inode] = device;
    this.#inode[inode] = number;
    this.#birth[inode] = birth;
    this.#type[inode] = type;
  }

  /** Adds an inode to the hash table. */
  #chain(inode: Inode): void {
    const chain = this.#chainOf(this.#device[inode] ?? 0, this.#inode[inode] ?? 0n);
    this.#next[inode] = this.#chains[chain] ?? 0;
    this.#chains[chain] = inode;
  }

  #remove(inode: Inode): void {
    this.#unchain(inode);
    this.#onRemoved(inode);
    this.#lookups[inode] = UNUSED;
    this.#next[inode] = this.#free;
    this.#free = inode;
    this.#count--;
  }

  /** Removes an inode from the hash table, where it is in it. */
  #unchain(inode: Inode): void {
    const chain = this.#chainOf(this.#device[inode] ?? 0, this.#inode[inode] ?? 0n);
    let before: Inode = 0;
    for (let at = this.#chains[chain] ?? 0; at !== 0; at = this.#nextOf(at)) {
      if (at === inode) {
        if (before === 0) this.#chains[chain] = this.#nextOf(at);
        else this.#next[before] = this.#nextOf(at);
        this.#next[at] = 0;
        return;
      }
      before = at;
    }
  }

  #chainOf(device: number, inode: bigint): number {
    const low = Number(BigInt.asUintN(32, inode ^ (inode >> 32n)));
    const mixed = Math.imul(low ^ Math.imul(device, 0x85eb_ca6b), 0x9e37_79b1);
    return (mixed ^ (mixed >>> 15)) & (this.#chains.length - 1);
  }

  #grow(): void {
    this.#resize(grownRows(this.#inode.length));
    if (this.#inode.length > this.#chains.length * 1.5) this.#rehash(this.#chains.length * 2);
  }

  #resize(rows: number): void {
    const keep = Math.min(rows, this.#rows);
    this.#device = lengthen(this.#device.subarray(0, keep), rows);
    this.#birth = lengthen(this.#birth.subarray(0, keep), rows);
    this.#type = lengthen(this.#type.subarray(0, keep), rows);
    this.#children = lengthen(this.#children.subarray(0, keep), rows);
    this.#firstLink = lengthen(this.#firstLink.subarray(0, keep), rows);
    this.#next = lengthen(this.#next.subarray(0, keep), rows);
    const numbers = new BigUint64Array(rows);
    numbers.set(this.#inode.subarray(0, keep));
    this.#inode = numbers;
    const lookups = new Float64Array(rows).fill(UNUSED);
    lookups.set(this.#lookups.subarray(0, keep));
    this.#lookups = lookups;
  }

  /** Builds the hash table again; inodes that had been removed from it stay out. */
  #rehash(chains: number): void {
    const former = this.#chains;
    this.#chains = new Uint32Array(chains);
    for (const first of former) {
      for (let at = first; at !== 0;) {
        const next = this.#nextOf(at);
        this.#chain(at);
        at = next;
      }
    }
  }
}
