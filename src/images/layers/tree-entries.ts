import { isMetadata } from './entry-path.ts';
import type { Directory, LayerTree, Node } from './layer-tree.ts';
import type { TarEntry } from './tar-reader.ts';

/** Mode of a directory that has no entry of its own, as Docker creates it. */
const DIRECTORY_MODE = 0o755;
const OPAQUE: readonly [string, Buffer] = ['trusted.overlay.opaque', Buffer.from('y')];

/**
 * Gives each object the first of its paths that is left in the complete tree.
 * @returns the paths by the number of the object's entry
 */
export function assignPaths(tree: LayerTree): Map<number, string> {
  const paths = new Map<number, string>();
  for (const { path, node } of nodesOf(tree)) {
    if (node.kind === 'directory' || paths.has(node.inode.ordinal)) continue;
    node.inode.path = path;
    paths.set(node.inode.ordinal, path);
  }
  return paths;
}

/**
 * Yields the entries that follow from the complete tree alone: directories, hard links, and whiteouts in the form of overlayfs (a
 * character device 0:0; an opaque directory).
 */
export function* treeEntries(tree: LayerTree): Generator<TarEntry> {
  for (const { path, node, isHiddenBelow } of nodesOf(tree)) {
    if (node.kind === 'directory') {
      yield directoryEntry(path, node, isHiddenBelow);
      yield* whiteoutEntries(path, node);
    } else if (node.inode.path !== path) {
      yield newEntry({ kind: 'link', name: path, target: node.inode.path });
    }
  }
}

/** A whiteout beside a directory of the same name hides what lower layers have in it. */
function directoryEntry(path: string, { entry, isOpaque }: Directory, isHiddenBelow: boolean): TarEntry {
  const xattrs = new Map(entry?.xattrs);
  if (isOpaque || isHiddenBelow) xattrs.set(...OPAQUE);
  return { ...(entry ?? newEntry({ kind: 'directory', mode: DIRECTORY_MODE })), name: path, xattrs };
}

function* whiteoutEntries(path: string, { whiteouts, children }: Directory): Generator<TarEntry> {
  for (const name of whiteouts ?? []) {
    if (!children.has(name)) yield newEntry({ kind: 'character', name: join(path, name) });
  }
}

function newEntry(fields: Partial<TarEntry> & Pick<TarEntry, 'kind'>): TarEntry {
  return {
    name: '',
    target: '',
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    major: 0,
    minor: 0,
    xattrs: new Map(),
    ...fields,
  };
}

interface PlacedNode {
  readonly path: string;
  readonly node: Node;
  /** its directory has a whiteout of the same name */
  readonly isHiddenBelow: boolean;
}

/** Yields the root and all below it, a directory before its children. */
function* nodesOf({ root }: LayerTree): Generator<PlacedNode> {
  const pending: PlacedNode[] = [{ path: '', node: root, isHiddenBelow: false }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    yield next;
    if (next.node.kind === 'leaf') continue;
    for (const [name, node] of next.node.children) {
      const path = join(next.path, name);
      if (isMetadata(path.split('/', 1))) continue;
      pending.push({ path, node, isHiddenBelow: next.node.whiteouts?.has(name) === true });
    }
  }
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}
