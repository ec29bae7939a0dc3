import { now, permissionsOf } from './attributes.ts';
import { FsError } from './errors.ts';
import { keyOf } from './names.ts';
import type { FsName, FsType } from './provider.ts';

/** A directory of a {@link memoryTree}. */
export interface MemoryDirectory extends Owned {
  readonly type: 'directory';
  /** entries by name; a name that is not valid UTF-8 begins with a NUL */
  readonly entries: Map<string, MemoryNode>;
}

/** A file of a {@link memoryTree}. */
export interface MemoryFile extends Owned {
  readonly type: 'file';
  /** content, and space behind it */
  buffer: Uint8Array;
  /** `bytes` of content */
  size: number;
}

/** A symbolic link, or a special file, of a {@link memoryTree}. */
export interface MemoryLink extends Owned {
  readonly type: Exclude<FsType, 'directory' | 'file'>;
  readonly target: FsName;
  readonly device: number;
}

export type MemoryNode = MemoryDirectory | MemoryFile | MemoryLink;

interface Owned {
  mode: number;
  uid: number;
  gid: number;
  links: number;
  modified: bigint;
  accessed: bigint;
  changed: bigint;
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export function owned(mode: number, { uid, gid }: Owner): Owned {
  const time = now();
  return { mode: permissionsOf(mode), uid, gid, links: 1, modified: time, accessed: time, changed: time };
}

export function newDirectory(mode: number, owner: Owner): MemoryDirectory {
  return { ...owned(mode, owner), type: 'directory', links: 2, entries: new Map() };
}

export function newFile(mode: number, owner: Owner): MemoryFile {
  return { ...owned(mode, owner), type: 'file', buffer: new Uint8Array(), size: 0 };
}

export function sizeOf(node: MemoryNode): number {
  if (node.type === 'file') return node.size;
  return node.type === 'symlink' ? Buffer.byteLength(node.target) : 0;
}

export function entryOf(directory: MemoryDirectory, name: FsName): MemoryNode {
  const node = directory.entries.get(keyOf(name));
  if (node === undefined) throw new FsError('ENOENT');
  return node;
}

/** Returns whether a directory is another one or below it. */
export function contains(directory: MemoryDirectory, other: MemoryDirectory): boolean {
  // no recursion: a guest can nest directories as deep as it likes
  const left = [directory];
  for (let one = left.pop(); one !== undefined; one = left.pop()) {
    if (one === other) return true;
    for (const node of one.entries.values()) if (node.type === 'directory') left.push(node);
  }
  return false;
}

export function touch(...nodes: MemoryNode[]): void {
  const time = now();
  for (const node of nodes) {
    node.changed = time;
    if (node.type === 'directory') node.modified = time;
  }
}

/** Returns the names of a path below the root. @throws FsError with EINVAL where it has none or invalid ones */
export function namesOf(path: string): string[] {
  const names = path.split('/');
  if (
    names.some(
      (name) => ['', '.', '..'].includes(name) || name.includes('\0') || Buffer.byteLength(name) > 255,
    )
  )
    throw new FsError('EINVAL', `not a path of names that are joined by '/': ${JSON.stringify(path)}`);
  return names;
}
