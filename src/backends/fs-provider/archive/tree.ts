import { keyOf } from '../names.ts';
import type { FsAttributes } from '../provider.ts';
import { ArchiveError, type ArchiveEntry, type Content } from './entry.ts';

/** A directory of an archive. */
export interface ArchiveDirectory {
  readonly attributes: FsAttributes;
  /** by the keys of names.ts */
  readonly entries: Map<string, ArchiveNode>;
}

/** Anything else in an archive. */
export interface ArchiveFile {
  readonly attributes: FsAttributes & { readonly size: number };
  readonly content?: Content;
  readonly target?: Uint8Array;
  /** number of names */
  links: number;
}

export type ArchiveNode = ArchiveDirectory | ArchiveFile;

const LONGEST_NAME = 255;
/** Longest target of a symbolic link, which is in memory, and most of all together, in `bytes`. */
export const LONGEST_TARGET = 4095;
const MOST_TARGET_BYTES = 64 * 2 ** 20;
const DOT = 0x2e;
const SLASH = 0x2f;

/** Attributes of directories that the archive does not have itself. */
const IMPLIED = { type: 'directory', mode: 0o755 } as const;

/** The tree of the entries of an archive. A later entry replaces an earlier one with the same path. */
export class ArchiveTree {
  #root: ArchiveDirectory = { attributes: IMPLIED, entries: new Map() };
  readonly #maxEntries: number;
  #count = 0;
  #targetBytes = 0;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  get root(): ArchiveDirectory {
    return this.#root;
  }

  /** @throws ArchiveError where the entry is outside of the archive, or not possible */
  add(entry: ArchiveEntry): void {
    const names = namesOf(entry.path);
    const name = names.pop();
    // the root itself
    if (name === undefined) {
      if (entry.type === 'directory') this.#root = { ...this.#root, attributes: attributesOf(entry) };
      return;
    }
    if (entry.type === 'symlink') this.#countTarget(entry);
    const directory = this.#directoryAt(names);
    const existing = directory.entries.get(name);
    if (entry.type === 'directory') {
      const entries = existing !== undefined && isDirectory(existing) ? existing.entries : new Map();
      this.#set(directory, name, { attributes: attributesOf(entry), entries });
    } else this.#set(directory, name, entry.type === 'link' ? this.#linked(entry) : fileOf(entry));
  }

  #directoryAt(names: readonly string[]): ArchiveDirectory {
    let directory = this.#root;
    for (const name of names) {
      const next = directory.entries.get(name);
      if (next !== undefined && isDirectory(next)) {
        directory = next;
        continue;
      }
      const made: ArchiveDirectory = { attributes: IMPLIED, entries: new Map() };
      this.#set(directory, name, made);
      directory = made;
    }
    return directory;
  }

  #set(directory: ArchiveDirectory, name: string, node: ArchiveNode): void {
    const replaced = directory.entries.get(name);
    if (replaced !== undefined && !isDirectory(replaced)) replaced.links--;
    else if (replaced === undefined && ++this.#count > this.#maxEntries)
      throw new ArchiveError(`it has more than ${this.#maxEntries} entries`);
    directory.entries.set(name, node);
  }

  #countTarget({ path, target }: ArchiveEntry): void {
    const { length } = target ?? [];
    if (length > LONGEST_TARGET) throw new ArchiveError(`${shown(path)} has a target that is too long`);
    this.#targetBytes += length;
    if (this.#targetBytes > MOST_TARGET_BYTES)
      throw new ArchiveError(`its symbolic links have targets of more than ${MOST_TARGET_BYTES} bytes`);
  }

  /** Returns the file of a hard link, which gets one more name. */
  #linked({ path, target = new Uint8Array() }: ArchiveEntry): ArchiveFile {
    let node: ArchiveNode | undefined = this.#root;
    for (const name of namesOf(target)) node = isDirectory(node) ? node.entries.get(name) : undefined;
    if (node === undefined || isDirectory(node))
      throw new ArchiveError(`${shown(path)} is a link to ${shown(target)}, which is no earlier file`);
    node.links++;
    return node;
  }
}

export function isDirectory(node: ArchiveNode | undefined): node is ArchiveDirectory {
  return node !== undefined && 'entries' in node;
}

function fileOf(entry: ArchiveEntry): ArchiveFile {
  const { content, target } = entry;
  return {
    attributes: attributesOf(entry),
    links: 1,
    ...(content !== undefined && { content }),
    ...(target !== undefined && { target }),
  };
}

function attributesOf(entry: ArchiveEntry): ArchiveFile['attributes'] {
  const { type, mode, uid, gid, modified } = entry;
  const size = entry.type === 'symlink' && entry.target !== undefined ? entry.target.length : entry.size;
  return { type: type === 'link' ? 'file' : type, mode, uid, gid, modified, size, device: entry.device };
}

/** Returns the keys of the names of a path, without `/` at its start. @throws ArchiveError where it leads out of the archive */
function namesOf(path: Uint8Array): string[] {
  const names: string[] = [];
  for (let from = 0; from <= path.length;) {
    const slash = path.indexOf(SLASH, from);
    const end = slash < 0 ? path.length : slash;
    const name = path.subarray(from, end);
    from = end + 1;
    if (name.length === 0 || (name.length === 1 && name[0] === DOT)) continue;
    if (name.length === 2 && name[0] === DOT && name[1] === DOT)
      throw new ArchiveError(`${shown(path)} is outside of the archive`);
    if (name.length > LONGEST_NAME || name.includes(0))
      throw new ArchiveError(`${shown(path)} is not a valid path`);
    names.push(keyOf(name));
  }
  return names;
}

function shown(path: Uint8Array): string {
  return JSON.stringify(Buffer.from(path).toString('utf8').slice(0, 200));
}
