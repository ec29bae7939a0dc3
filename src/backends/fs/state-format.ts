import type { Handle } from '../fuse/file-system.ts';
import type { Identity, Inode, RestoredInode } from './inode-table.ts';
import { StateError, type StateReader, type StateWriter } from './state-bytes.ts';

/*
 * The state of a shared directory as `save` writes it, little-endian:
 *
 *     magic u32, version u32
 *     identity of the shared directory
 *     count u32, then each inode but the root, in ascending order:
 *       inode u32, identity, references f64, count of links u8, then each link, the oldest first:
 *         directory u32, length of the name u8, name
 *     count u32, then each open file or directory, handles in ascending order:
 *       handle u32, inode u32, flags u32, is a directory u8
 *     count u32, then each unlinked file, inodes in ascending order:
 *       inode u32, mode u32, owner u32, group u32, time of modification f64, length u32, content
 *
 *     identity: device u32, inode number u64, digest of the time of creation u32, type u8
 *
 * A position in a directory is the guest's, so an open directory has none. An inode without links has no name on the host any more.
 */

const MAGIC = 0x7366_706e;
const VERSION = 1;

export type SavedInode = RestoredInode;
export type SavedLink = RestoredInode['links'][number];

/** An open file or directory as it is saved. */
export interface SavedFile {
  readonly handle: Handle;
  readonly inode: Inode;
  readonly flags: number;
  readonly isDirectory: boolean;
}

/** An unlinked file as it is saved. */
export interface SavedContent {
  readonly inode: Inode;
  /** permission bits on the host */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** seconds since 1970 */
  readonly modified: number;
  readonly bytes: Uint8Array;
}

/** Receives the parts of a state, in order. */
export interface StateVisitor {
  readonly root?: (identity: Identity) => void;
  readonly inode?: (inode: SavedInode) => void;
  readonly file?: (file: SavedFile) => void;
  readonly content?: (content: SavedContent) => void;
}

export function writeHeader(writer: StateWriter, root: Identity): void {
  writer.u32(MAGIC);
  writer.u32(VERSION);
  writeIdentity(writer, root);
}

export function writeInode(writer: StateWriter, { inode, identity, lookups, links }: SavedInode): void {
  writer.u32(inode);
  writeIdentity(writer, identity);
  writer.f64(lookups);
  writer.u8(links.length);
  for (const { parent, name } of links) {
    writer.u32(parent);
    writer.u8(name.length);
    writer.bytes(name);
  }
}

export function writeFile(writer: StateWriter, { handle, inode, flags, isDirectory }: SavedFile): void {
  writer.u32(handle);
  writer.u32(inode);
  writer.u32(flags);
  writer.u8(isDirectory ? 1 : 0);
}

export function writeContent(writer: StateWriter, content: SavedContent): void {
  const { inode, mode, uid, gid, modified, bytes } = content;
  for (const value of [inode, mode, uid, gid]) writer.u32(value);
  writer.f64(modified);
  writer.u32(bytes.length);
  writer.bytes(bytes);
}

/** Reads a state. Values are not checked. @throws StateError where the bytes do not have the form */
export function readState(reader: StateReader, visitor: StateVisitor): void {
  if (reader.u32() !== MAGIC) throw new StateError('this is no state of a shared directory');
  const version = reader.u32();
  if (version !== VERSION) throw new StateError(`version ${version} of the state is not supported`);
  const root = readIdentity(reader);
  visitor.root?.(root);
  for (let left = reader.u32(); left > 0; left--) {
    const inode = readInode(reader);
    visitor.inode?.(inode);
  }
  for (let left = reader.u32(); left > 0; left--) {
    const file = readFile(reader);
    visitor.file?.(file);
  }
  for (let left = reader.u32(); left > 0; left--) {
    const content = readContent(reader);
    visitor.content?.(content);
  }
  if (!reader.isAtEnd) throw new StateError('the state is longer than its content');
}

function readInode(reader: StateReader): SavedInode {
  const [inode, identity, lookups] = [reader.u32(), readIdentity(reader), reader.f64()];
  const links: SavedLink[] = [];
  for (let left = reader.u8(); left > 0; left--) {
    const parent = reader.u32();
    links.push({ parent, name: reader.bytes(reader.u8()) });
  }
  return { inode, identity, lookups, links };
}

function readFile(reader: StateReader): SavedFile {
  const [handle, inode, flags] = [reader.u32(), reader.u32(), reader.u32()];
  return { handle, inode, flags, isDirectory: reader.u8() === 1 };
}

function readContent(reader: StateReader): SavedContent {
  const [inode, mode, uid, gid] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()];
  const modified = reader.f64();
  return { inode, mode, uid, gid, modified, bytes: reader.bytes(reader.u32()) };
}

function writeIdentity(writer: StateWriter, { device, inode, birth, type }: Identity): void {
  writer.u32(device);
  writer.u64(inode);
  writer.u32(birth);
  writer.u8(type);
}

function readIdentity(reader: StateReader): Identity {
  return { device: reader.u32(), inode: reader.u64(), birth: reader.u32(), type: reader.u8() };
}
