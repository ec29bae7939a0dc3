import type { FileStatus } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import type { Block } from '../../native/memory.ts';
import type { Attributes, Entry, Name, Result } from '../fuse/file-system.ts';
import type { DescriptorPath } from './descriptor-path.ts';
import type { BlockPool } from './directory-stream.ts';
import { doneOf, EACCES, ENOMEM } from './errors.ts';
import { type Reach, withDescriptor } from './inode-access.ts';
import type { GuestAttributes } from './guest-attributes.ts';
import type { Inode } from './inode-table.ts';
import type { DirectoryOptions } from './options.ts';
import type { Ownership, ReadsKept } from './ownership.ts';

/** State of a shared directory, which its operations share. */
export interface Share extends Reach {
  readonly options: DirectoryOptions;
  readonly ownership: Ownership;
  readonly guestAttributes: GuestAttributes;
  readonly path: DescriptorPath;
  readonly blocks: BlockPool;
  /** memory for arguments and results of one call, {@link SCRATCH_BYTES} */
  readonly scratch: Block;
  /** descriptor of the shared directory */
  readonly root: number;
  /** Returns the inode number that the guest sees: two file systems below the directory have none in common. */
  readonly shownInode: (device: number, inode: bigint) => bigint;
}

/** Type of `/proc` in `struct statfs` (linux/magic.h). */
const PROC_SUPER_MAGIC = 0x9fa0;

/** The largest result is a value or a list of extended attributes. */
export const SCRATCH_BYTES = 65_536;

/** Returns attributes as the guest sees them; `read` reads what the file keeps, by default by a descriptor of the inode. */
export function attributesOf(
  share: Share,
  inode: Inode,
  status: FileStatus,
  read: ReadsKept = (kept) => withDescriptor(share, inode, (fd) => kept.read(fd)),
): Result<Attributes> {
  const attributes = share.ownership.attributes(status, read);
  if (typeof attributes === 'number') return attributes;
  const shown = share.shownInode(status.hostDevice, status.inode);
  return shown === attributes.inode ? attributes : { ...attributes, inode: shown };
}

/** Place where an inode was found, and how what it keeps is read there. */
export interface Found {
  readonly parent: Inode;
  readonly name: Name['bytes'];
  readonly read: ReadsKept;
}

/** The guest knows an inode from now on that was found at a name of a directory. */
export function entryOf(share: Share, { parent, name, read }: Found, status: FileStatus): Result<Entry> {
  const { table, kept } = share;
  const identity = share.status.identity(status);
  const node = table.find(identity) || table.add(identity);
  if (node === 0) return ENOMEM;
  table.link(node, parent, name);
  kept.close(node);
  table.retain(node);
  if (status.isMountRoot && isOnProc(share, node)) {
    table.forget(node, 1);
    return EACCES;
  }
  const attributes = attributesOf(share, node, status, read);
  if (typeof attributes !== 'number') return { node, attributes };
  table.forget(node, 1);
  return attributes;
}

/**
 * Returns true for the root of a `/proc` file system that is mounted below the directory. Its regular files are memory and descriptors of
 * the processes of the host, this one included: the guest gets none of them.
 */
function isOnProc(share: Share, node: Inode): boolean {
  const { address, view } = share.scratch;
  const error = withDescriptor(share, node, (fd) => doneOf(libc().fstatfs(fd, address)));
  return error === 0 && view.getUint32(0, true) === PROC_SUPER_MAGIC;
}

/** Closes all open files and removes all inodes but the root. */
export function resetShare({ files, table, kept, directories }: Share): void {
  files.closeAll();
  table.clear();
  kept.closeAll();
  directories.closeAll();
}
