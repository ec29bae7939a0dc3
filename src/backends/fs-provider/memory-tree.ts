import { now } from './attributes.ts';
import { FsError } from './errors.ts';
import {
  contains,
  entryOf,
  namesOf,
  newDirectory,
  newFile,
  owned,
  sizeOf,
  touch,
  type MemoryDirectory,
  type MemoryFile,
  type MemoryLink,
  type MemoryNode,
} from './memory-nodes.ts';
import { keyOf, nameOfKey } from './names.ts';
import type {
  FsAttributeChange,
  FsAttributes,
  FsContext,
  FsEntry,
  FsName,
  FsPlace,
  FsProvider,
} from './provider.ts';

/** Options of {@link memoryTree}. */
export interface MemoryTreeOptions {
  /** Most `bytes` of all files; a write beyond it fails with ENOSPC. Default: 256 MiB */
  readonly maxBytes?: number;
  /** Most files and directories; one more fails with ENOSPC. Default: 100,000 */
  readonly maxFiles?: number;
}

/** A file system in memory, with access to its files for the program. */
export interface MemoryTree extends FsProvider<MemoryDirectory, MemoryFile | MemoryLink> {
  /** Returns the content of a file; undefined: there is no such file. */
  readonly readFile: (path: string) => Buffer | undefined;
  /** Writes a file, and creates its directories. The guest sees the change within a second. */
  readonly writeFile: (path: string, content: string | Uint8Array) => void;
  /** Returns the paths of all files, in order. */
  readonly paths: () => string[];
}

const DEFAULT_MAX_BYTES = 256 * 2 ** 20;
const DEFAULT_MAX_FILES = 100_000;

/** Bytes of the first buffer of a written file. */
const FIRST_BUFFER = 4096;

/**
 * A file system in memory that the guest reads and writes. Keys are paths; a path that ends with `/` is an empty directory.
 *
 * ```ts
 * const tree = memoryTree({ 'etc/hosts': '127.0.0.1 localhost\n', 'bin/run': '#!/bin/sh\necho hello\n', 'out/': '' });
 * await vm.addFs({ tag: 'files', provider: tree });
 * // the guest: mount -t virtiofs files /mnt; sh /mnt/bin/run > /mnt/out/result
 * tree.readFile('out/result');
 * ```
 * @throws FsError where a path is invalid, or two contradict each other
 */
export function memoryTree(
  files: Readonly<Record<string, string | Uint8Array>> = {},
  options: MemoryTreeOptions = {},
): MemoryTree {
  const tree = new Tree(options);
  for (const [path, content] of Object.entries(files)) {
    if (path.endsWith('/')) tree.makeDirectory(path);
    else tree.writeFile(path, content);
  }
  return tree;
}

/** Invariant: `#bytes` and `#files` count the content and nodes of the tree, with files that are unlinked but open. */
class Tree implements MemoryTree {
  readonly root = newDirectory(0o755, { uid: 0, gid: 0 });
  readonly #maxBytes: number;
  readonly #maxFiles: number;
  readonly #open = new Map<MemoryFile | MemoryLink, number>();
  #bytes = 0;
  #files = 1;

  constructor({ maxBytes = DEFAULT_MAX_BYTES, maxFiles = DEFAULT_MAX_FILES }: MemoryTreeOptions) {
    this.#maxBytes = maxBytes;
    this.#maxFiles = maxFiles;
  }

  readFile(path: string): Buffer | undefined {
    let node: MemoryNode | undefined = this.root;
    for (const name of namesOf(path)) node = node?.type === 'directory' ? node.entries.get(name) : undefined;
    return node?.type === 'file' ? Buffer.from(node.buffer.subarray(0, node.size)) : undefined;
  }

  writeFile(path: string, content: string | Uint8Array): void {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new FsError('EISDIR', `${path} is a directory`);
    const directory = this.#directoryAt(names, path);
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    const existing = directory.entries.get(name);
    if (existing !== undefined && existing.type !== 'file') throw new FsError('EISDIR', `${path} is no file`);
    const file = existing ?? this.#insert(directory, name, newFile(0o644, { uid: 0, gid: 0 }));
    this.#resize(file, 0);
    this.write(file, bytes, 0);
  }

  paths(): string[] {
    const paths: string[] = [];
    const left: { directory: MemoryDirectory; prefix: string }[] = [{ directory: this.root, prefix: '' }];
    for (let one = left.pop(); one !== undefined; one = left.pop()) {
      const { directory, prefix } = one;
      for (const [name, node] of directory.entries)
        if (node.type === 'directory') left.push({ directory: node, prefix: `${prefix}${name}/` });
        else paths.push(prefix + name);
    }
    return paths.toSorted();
  }

  /** Creates a directory and those above it. */
  makeDirectory(path: string): void {
    this.#directoryAt(namesOf(path.replace(/\/+$/, '')), path);
  }

  lookup({ entries }: MemoryDirectory, name: FsName): MemoryNode | undefined {
    return entries.get(keyOf(name));
  }

  getattr(node: MemoryNode): FsAttributes {
    const { type, mode, uid, gid, links, modified, accessed, changed } = node;
    return {
      ...{ type, mode, uid, gid, links, modified, accessed, changed },
      size: sizeOf(node),
      ...('device' in node && { device: node.device }),
    };
  }

  readdir({ entries }: MemoryDirectory): FsEntry<MemoryNode>[] {
    return Array.from(entries, ([key, node]) => ({ name: nameOfKey(key), type: node.type, node }));
  }

  read(file: MemoryFile | MemoryLink, { offset, length }: { offset: number; length: number }): Uint8Array {
    if (file.type !== 'file') throw new FsError('EINVAL');
    return file.buffer.subarray(Math.min(offset, file.size), Math.min(offset + length, file.size));
  }

  readlink(link: MemoryFile | MemoryLink): FsName {
    if (!('target' in link)) throw new FsError('EINVAL');
    return link.target;
  }

  open(file: MemoryFile | MemoryLink): void {
    this.#requireUsed(file);
    this.#open.set(file, (this.#open.get(file) ?? 0) + 1);
  }

  close(file: MemoryFile | MemoryLink): void {
    const left = (this.#open.get(file) ?? 1) - 1;
    if (left > 0) this.#open.set(file, left);
    else this.#open.delete(file);
    this.#dropUnused(file);
  }

  statfs(): { size: number; free: number; files: number; filesFree: number } {
    return {
      size: this.#maxBytes,
      free: this.#maxBytes - this.#bytes,
      files: this.#maxFiles,
      filesFree: this.#maxFiles - this.#files,
    };
  }

  write(file: MemoryFile | MemoryLink, data: Uint8Array, offset: number): void {
    if (file.type !== 'file') throw new FsError('EINVAL');
    this.#requireUsed(file);
    const end = offset + data.length;
    if (end > file.size) this.#resize(file, end);
    file.buffer.set(data, offset);
    file.modified = file.changed = now();
  }

  create(directory: MemoryDirectory, name: FsName, mode: number, { uid, gid }: FsContext): MemoryFile {
    const file = this.#insert(directory, keyOf(name), newFile(mode, { uid, gid }));
    this.open(file);
    return file;
  }

  mkdir(directory: MemoryDirectory, name: FsName, mode: number, { uid, gid }: FsContext): MemoryDirectory {
    const made = this.#insert(directory, keyOf(name), newDirectory(mode, { uid, gid }));
    directory.links++;
    return made;
  }

  symlink(directory: MemoryDirectory, name: FsName, target: FsName, { uid, gid }: FsContext): MemoryLink {
    const link = { ...owned(0o777, { uid, gid }), type: 'symlink', target, device: 0 } as const;
    return this.#insert(directory, keyOf(name), link);
  }

  mknod(
    { directory, name }: FsPlace<MemoryDirectory>,
    { type, mode, device }: { type: MemoryLink['type']; mode: number; device: number },
    { uid, gid }: FsContext,
  ): MemoryLink {
    const node: MemoryLink = { ...owned(mode, { uid, gid }), type, target: '', device };
    return this.#insert(directory, keyOf(name), node);
  }

  link(file: MemoryFile | MemoryLink, directory: MemoryDirectory, name: FsName): void {
    if (directory.entries.has(keyOf(name))) throw new FsError('EEXIST');
    if (file.links === 0) throw new FsError('ENOENT');
    directory.entries.set(keyOf(name), file);
    file.links++;
    touch(directory, file);
  }

  unlink(directory: MemoryDirectory, name: FsName): void {
    const node = entryOf(directory, name);
    if (node.type === 'directory') throw new FsError('EISDIR');
    this.#remove(directory, name, node);
  }

  rmdir(directory: MemoryDirectory, name: FsName): void {
    const node = entryOf(directory, name);
    if (node.type !== 'directory') throw new FsError('ENOTDIR');
    if (node.entries.size > 0) throw new FsError('ENOTEMPTY');
    this.#remove(directory, name, node);
  }

  rename(from: FsPlace<MemoryDirectory>, to: FsPlace<MemoryDirectory>): void {
    const moved = entryOf(from.directory, from.name);
    const replaced = to.directory.entries.get(keyOf(to.name));
    if (replaced === moved) return;
    if (moved.type === 'directory' && contains(moved, to.directory)) throw new FsError('EINVAL');
    if (replaced !== undefined) {
      if (moved.type === 'directory') this.rmdir(to.directory, to.name);
      else this.unlink(to.directory, to.name);
    }
    from.directory.entries.delete(keyOf(from.name));
    to.directory.entries.set(keyOf(to.name), moved);
    if (moved.type === 'directory') {
      from.directory.links--;
      to.directory.links++;
    }
    touch(from.directory, to.directory);
    moved.changed = now();
  }

  setattr(node: MemoryNode, { size, mode, uid, gid, modified, accessed }: FsAttributeChange): void {
    if (size !== undefined) {
      if (node.type !== 'file') throw new FsError('EINVAL');
      this.#requireUsed(node);
      this.#resize(node, size);
      node.modified = now();
    }
    node.changed = now();
    node.mode = mode ?? node.mode;
    node.uid = uid ?? node.uid;
    node.gid = gid ?? node.gid;
    node.modified = modified ?? node.modified;
    node.accessed = accessed ?? node.accessed;
  }

  #directoryAt(names: readonly string[], path: string): MemoryDirectory {
    let directory = this.root;
    for (const name of names) {
      const next = directory.entries.get(name);
      if (next !== undefined && next.type !== 'directory')
        throw new FsError('ENOTDIR', `${path}: ${name} is no directory`);
      if (next === undefined) directory.links++;
      directory = next ?? this.#insert(directory, name, newDirectory(0o755, { uid: 0, gid: 0 }));
    }
    return directory;
  }

  #insert<N extends MemoryNode>(directory: MemoryDirectory, key: string, node: N): N {
    if (directory.entries.has(key)) throw new FsError('EEXIST');
    if (directory.links === 0) throw new FsError('ENOENT');
    if (this.#files >= this.#maxFiles) throw new FsError('ENOSPC');
    this.#files++;
    directory.entries.set(key, node);
    touch(directory);
    return node;
  }

  #remove(directory: MemoryDirectory, name: FsName, node: MemoryNode): void {
    directory.entries.delete(keyOf(name));
    touch(directory, node);
    if (node.type === 'directory') {
      directory.links--;
      node.links = 0;
      this.#files--;
      return;
    }
    node.links--;
    this.#dropUnused(node);
  }

  /** @throws FsError with ENOENT where a file has neither a name nor is open: its space is released */
  #requireUsed(file: MemoryFile | MemoryLink): void {
    if (file.links === 0 && !this.#open.has(file)) throw new FsError('ENOENT');
  }

  #dropUnused(node: MemoryFile | MemoryLink): void {
    if (node.links > 0 || this.#open.has(node)) return;
    this.#files--;
    if (node.type === 'file') this.#resize(node, 0);
  }

  #resize(file: MemoryFile, size: number): void {
    const bytes = this.#bytes - file.size + size;
    if (size > file.size && bytes > this.#maxBytes) throw new FsError('ENOSPC');
    if (size > file.buffer.length) {
      // twice the size, so that a file that grows is not copied at each write
      const space = Math.min(Math.max(FIRST_BUFFER, file.size * 2), this.#maxBytes);
      const larger = new Uint8Array(Math.max(size, space));
      larger.set(file.buffer.subarray(0, file.size));
      file.buffer = larger;
    } else if (size === 0) file.buffer = new Uint8Array();
    // bytes behind the content are zeros
    else if (size < file.size) file.buffer.fill(0, size, file.size);
    this.#bytes = bytes;
    file.size = size;
  }
}
