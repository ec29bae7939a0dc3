import { isMetadata, purposeOf, quote, splitPath } from './entry-path.ts';
import { TarError } from './tar-header.ts';
import type { TarEntry } from './tar-reader.ts';

/*
 * The tree that the entries of a layer make, in memory, without contents. Later entries replace earlier ones of the same path. A
 * whiteout hides lower layers alone, wherever it is in the archive: an entry of the same layer and path stays.
 */

/** A file system object other than a directory, under one path or under several (hard links). */
export interface Inode {
  /** number of its entry in the archive */
  readonly ordinal: number;
  readonly kind: TarEntry['kind'];
  /** of a symbolic link */
  readonly target: string;
  /** path of its entry in the squashfs; further paths are hard links to it */
  path: string;
}

/** A directory. */
export interface Directory {
  readonly kind: 'directory';
  readonly children: Map<string, Node>;
  /** metadata; undefined where the archive has no entry for it */
  entry: TarEntry | undefined;
  /** hides the directory of lower layers */
  isOpaque: boolean;
  /** names that are hidden in lower layers */
  whiteouts: Set<string> | undefined;
}

/** A path of the tree. */
export type Node = Directory | { readonly kind: 'leaf'; readonly inode: Inode };

/** Tree of a layer. */
export interface LayerTree {
  readonly root: Directory;
  /** An entry that was placed has been replaced, or its path is not part of the layer: its place must be found again. */
  hasReplaced: boolean;
  /** number of entries that were added */
  entries: number;
  /** objects, and bytes of names, that are in memory */
  nodes: number;
  nameBytes: number;
}

const LIMITS = { entries: 2 ** 20, nodes: 2 ** 20, nameBytes: 2 ** 28, links: 40 } as const;

/** Makes the tree of an empty layer. */
export function newTree(): LayerTree {
  return { root: newDirectory(), hasReplaced: false, entries: 0, nodes: 0, nameBytes: 0 };
}

/**
 * Adds an entry.
 * @returns its path, where it is an object with content or metadata of its own that can be written now; directories, hard links and
 * whiteouts are read from the complete tree
 * @throws TarError for an entry that cannot be part of a layer
 */
export function addEntry(tree: LayerTree, entry: TarEntry): string | undefined {
  const ordinal = tree.entries;
  if (++tree.entries > LIMITS.entries) throw new TarError(`has more than ${LIMITS.entries} entries`);
  const names = splitPath(entry.name);
  const purpose = purposeOf(names);
  switch (purpose.kind) {
    case 'opaque':
      openDirectory(tree, names.slice(0, -1)).directory.isOpaque = true;
      return undefined;
    case 'whiteout': {
      const { directory } = openDirectory(tree, names.slice(0, -1));
      count(tree, purpose.hides);
      (directory.whiteouts ??= new Set()).add(purpose.hides);
      return undefined;
    }
    case 'ordinary':
      if (entry.kind === 'directory') return addDirectory(tree, names, entry);
      if (entry.kind === 'link') return addLink(tree, names, entry);
      return addObject(tree, names, { entry, ordinal });
  }
}

function addDirectory(tree: LayerTree, names: readonly string[], entry: TarEntry): undefined {
  const name = names.at(-1);
  if (name === undefined) {
    tree.root.entry = entry;
    return;
  }
  const { directory: parent } = openDirectory(tree, names.slice(0, -1));
  const existing = parent.children.get(name);
  // the last name is not followed: a directory replaces a symbolic link
  if (existing?.kind === 'directory') {
    existing.entry = entry;
    return;
  }
  if (existing !== undefined) tree.hasReplaced = true;
  setChild(tree, parent, name, { ...newDirectory(), entry });
}

function addLink(tree: LayerTree, names: readonly string[], { name, target }: TarEntry): undefined {
  const found = findNode(tree, splitPath(target));
  if (found === undefined)
    throw new TarError(`${quote(name)}: links to ${quote(target)}, which is no earlier entry`);
  if (found.kind === 'directory')
    throw new TarError(`${quote(name)}: links to a directory, ${quote(target)}`);
  const { parent, base } = placeOf(tree, names, name);
  const existing = parent.children.get(base);
  if (existing === found || (existing?.kind === 'leaf' && existing.inode === found.inode)) return;
  replace(tree, existing);
  // the object itself is not written at its own path
  if (isMetadata(found.inode.path.split('/'))) tree.hasReplaced = true;
  setChild(tree, parent, base, { kind: 'leaf', inode: found.inode });
}

function addObject(
  tree: LayerTree,
  names: readonly string[],
  { entry, ordinal }: { readonly entry: TarEntry; readonly ordinal: number },
): string | undefined {
  const { parent, base, path } = placeOf(tree, names, entry.name);
  const { kind, target } = entry;
  if (kind === 'symlink' && target === '')
    throw new TarError(`${quote(entry.name)}: is a symbolic link to no path`);
  replace(tree, parent.children.get(base));
  count(tree, target);
  setChild(tree, parent, base, { kind: 'leaf', inode: { ordinal, kind, target, path } });
  return isMetadata(names) ? undefined : path;
}

interface Place {
  readonly parent: Directory;
  readonly base: string;
  /** without symbolic links in the parents */
  readonly path: string;
}

function placeOf(tree: LayerTree, names: readonly string[], name: string): Place {
  const base = names.at(-1);
  if (base === undefined) throw new TarError(`${quote(name)}: the root is no directory`);
  const { directory, path } = openDirectory(tree, names.slice(0, -1));
  return { parent: directory, base, path: [...path, base].join('/') };
}

function replace(tree: LayerTree, existing: Node | undefined): void {
  if (existing !== undefined && hasLeaf(existing)) tree.hasReplaced = true;
}

function hasLeaf(node: Node): boolean {
  return node.kind === 'leaf' || [...node.children.values()].some(hasLeaf);
}

function setChild(tree: LayerTree, parent: Directory, name: string, node: Node): void {
  count(tree, name);
  parent.children.set(name, node);
}

function count(tree: LayerTree, name: string): void {
  tree.nameBytes += name.length;
  if (++tree.nodes > LIMITS.nodes || tree.nameBytes > LIMITS.nameBytes) {
    throw new TarError(`has more than ${LIMITS.nodes} files, or ${LIMITS.nameBytes} bytes of names`);
  }
}

function newDirectory(): Directory {
  return {
    kind: 'directory',
    children: new Map(),
    entry: undefined,
    isOpaque: false,
    whiteouts: undefined,
  };
}

interface Opened {
  readonly directory: Directory;
  /** names of the directory below the root */
  readonly path: readonly string[];
}

/** Finds a directory, and creates it where it is missing. Symbolic links of this layer are followed, within the root. */
function openDirectory(tree: LayerTree, names: readonly string[]): Opened {
  const missing = (parent: Directory, name: string): Directory => {
    const directory = newDirectory();
    setChild(tree, parent, name, directory);
    return directory;
  };
  const found = walk(tree, names, missing);
  if (found === undefined) throw new TarError(`${quote(names.join('/'))}: cannot be a directory`);
  return found;
}

function findNode(tree: LayerTree, names: readonly string[]): Node | undefined {
  const base = names.at(-1);
  if (base === undefined) return tree.root;
  return walk(tree, names.slice(0, -1), () => undefined)?.directory.children.get(base);
}

/** Follows names to a directory; `missing` returns the directory to use for a name that does not exist. */
function walk(
  tree: LayerTree,
  names: readonly string[],
  missing: (parent: Directory, name: string) => Directory | undefined,
): Opened | undefined {
  const pending = names.toReversed();
  const at: Position = { root: tree.root, directories: [], path: [] };
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      at.path.pop();
      at.directories.pop();
      continue;
    }
    const parent = directoryAt(at);
    const child = parent.children.get(name) ?? missing(parent, name);
    if (child?.kind === 'directory') {
      at.path.push(name);
      at.directories.push(child);
    } else {
      if (child?.inode.kind !== 'symlink' || ++links > LIMITS.links) return undefined;
      const { target } = child.inode;
      if (target.startsWith('/')) at.path.length = at.directories.length = 0;
      pending.push(...target.split('/').toReversed());
    }
  }
  return { directory: directoryAt(at), path: at.path };
}

/** Directories from the root to the current one, and their names; without the root. */
interface Position {
  readonly root: Directory;
  readonly directories: Directory[];
  readonly path: string[];
}

function directoryAt({ root, directories }: Position): Directory {
  return directories.at(-1) ?? root;
}
