import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { bytesOf, keyOf } from '../names.ts';
import type { FsName, FsPlace } from '../provider.ts';
import type { Found, OverlayDirectory, OverlayFile, OverlayNode, OverlayPlace } from './nodes.ts';

/** Numbers of the two layers, and of lower files with hard links, are in ranges of their own. */
const UPPER_NUMBERS = 1n << 62n;
const LINK_NUMBERS = 1n << 61n;
const NUMBER_MASK = (1n << 60n) - 1n;

/** Number of the inode of the root. */
const ROOT_NUMBER = 1n;

/** Returns the number of the device and of the inode of a file. */
export function identityOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

/**
 * The nodes that the guest knows. An upper file with several names is one node. A lower file with several names is one node for each of
 * them, as a change of one does not reach the others.
 */
export class KnownNodes {
  readonly root: OverlayDirectory = {
    kind: 'directory',
    parent: undefined,
    name: '',
    isLower: true,
    isUpper: true,
    inode: ROOT_NUMBER,
    children: new Map(),
  };
  readonly #upperFiles = new Map<string, OverlayFile>();
  /** inode numbers of upper files that were lower ones, by their identity: `stat` shows the same number after the copy */
  readonly #copied = new Map<string, bigint>();

  /** Returns the node of an entry that was found. */
  take(directory: OverlayDirectory, name: FsName, found: Found): OverlayNode {
    const key = keyOf(name);
    const existing = directory.children.get(key);
    if (found.stats.isDirectory()) {
      if (existing?.kind === 'directory') return existing;
      const made = newDirectory({ directory, name }, found);
      directory.children.set(key, made);
      return made;
    }
    const identity = identityOf(found.stats);
    const isUpper = found.layer === 'upper';
    const isSame =
      existing?.kind === 'file' && existing.isUpper === isUpper && existing.identity === identity;
    if (isSame) return existing;
    this.remove(directory, name);
    const file =
      (isUpper ? this.#upperFiles.get(identity) : undefined) ?? this.#newFile({ directory, name }, found);
    file.places.push({ directory, name });
    directory.children.set(key, file);
    return file;
  }

  /** A lower file was copied to the upper layer. */
  copied(file: OverlayFile, identity: string): void {
    file.isUpper = true;
    file.identity = identity;
    this.#upperFiles.set(identity, file);
    this.#copied.set(identity, file.inode);
  }

  /** An entry was moved, over another one if there was one. */
  move(node: OverlayNode, from: FsPlace<OverlayDirectory>, to: FsPlace<OverlayDirectory>): void {
    this.remove(to.directory, to.name);
    from.directory.children.delete(keyOf(from.name));
    to.directory.children.set(keyOf(to.name), node);
    if (node.kind === 'directory') {
      node.parent = to.directory;
      node.name = to.name;
    } else {
      node.places = node.places.filter((one) => !isPlace(one, from.directory, from.name));
      node.places.push(to);
    }
  }

  /** An entry was removed. */
  remove(directory: OverlayDirectory, name: FsName): void {
    const key = keyOf(name);
    const node = directory.children.get(key);
    directory.children.delete(key);
    if (node?.kind !== 'file') return;
    node.places = node.places.filter((one) => !isPlace(one, directory, name));
    if (node.places.length > 0) return;
    this.#dropFile(node);
    this.#copied.delete(node.identity);
  }

  /** The guest does not know a node any more. */
  forget(node: OverlayNode): void {
    const places =
      node.kind === 'file'
        ? node.places
        : node.parent === undefined
          ? []
          : [{ directory: node.parent, name: node.name }];
    for (const { directory, name } of places) {
      const key = keyOf(name);
      if (directory.children.get(key) === node) directory.children.delete(key);
    }
    if (node.kind === 'file') this.#dropFile(node);
  }

  #dropFile(file: OverlayFile): void {
    if (this.#upperFiles.get(file.identity) === file) this.#upperFiles.delete(file.identity);
  }

  #newFile(place: OverlayPlace, { layer, stats }: Found): OverlayFile {
    const identity = identityOf(stats);
    const isUpper = layer === 'upper';
    const copied = isUpper ? this.#copied.get(identity) : undefined;
    const file: OverlayFile = {
      kind: 'file',
      isUpper,
      identity,
      inode: copied ?? numberOf(place, stats, layer),
      places: [],
      open: undefined,
      opens: 0,
      copying: undefined,
    };
    if (isUpper) this.#upperFiles.set(identity, file);
    return file;
  }
}

function newDirectory(place: OverlayPlace, { layer, stats, lower }: Found): OverlayDirectory {
  return {
    kind: 'directory',
    parent: place.directory,
    name: place.name,
    isUpper: layer === 'upper',
    isLower: layer === 'lower' || lower !== undefined,
    inode: lower === undefined ? numberOf(place, stats, layer) : numberOf(place, lower, 'lower'),
    children: new Map(),
  };
}

/** Returns the number that `stat` shows: that of the host, so that it is the same after a restart. */
function numberOf({ directory, name }: OverlayPlace, stats: BigIntStats, layer: 'lower' | 'upper'): bigint {
  const { dev, ino, nlink } = stats;
  if (layer === 'upper') return UPPER_NUMBERS | (ino & NUMBER_MASK);
  if (nlink === 1n || stats.isDirectory()) return ((dev << 48n) ^ ino) & NUMBER_MASK;
  const hash = createHash('sha256').update(`${directory.inode}/`).update(bytesOf(name)).digest();
  return LINK_NUMBERS | (hash.readBigUInt64LE() & NUMBER_MASK);
}

function isPlace(one: OverlayPlace, directory: OverlayDirectory, name: FsName): boolean {
  return one.directory === directory && keyOf(one.name) === keyOf(name);
}
