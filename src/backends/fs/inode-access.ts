import type { FileStatus } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import { O_CLOEXEC, O_NOFOLLOW, O_PATH } from '../../native/open-flags.ts';
import type { Errno } from '../fuse/file-system.ts';
import type { DirectoryDescriptors } from './directory-descriptors.ts';
import { ENOTDIR, ESTALE, orError, staleIfGone } from './errors.ts';
import type { HostStatus } from './host-status.ts';
import type { Inode, InodeTable } from './inode-table.ts';
import type { KeptDescriptors } from './kept-descriptors.ts';
import type { OpenFiles } from './open-files.ts';

const FLAGS = O_PATH | O_NOFOLLOW | O_CLOEXEC;

/** State that an inode is reached by. */
export interface Reach {
  readonly table: InodeTable;
  readonly status: HostStatus;
  readonly directories: DirectoryDescriptors;
  readonly kept: KeptDescriptors;
  readonly files: OpenFiles;
}

/**
 * Reads the attributes of an inode: by a descriptor that is open, else by its names, the newest first. A name that leads to another
 * file is dropped if there are others.
 */
export function statusOf(reach: Reach, inode: Inode): FileStatus | Errno {
  if (!reach.table.has(inode)) return ESTALE;
  const open = openDescriptor(reach, inode);
  if (open >= 0) return reach.status.ofDescriptor(open);
  const status = byName(reach, inode, (directory, name) => {
    const found = reach.status.ofEntry(directory, name);
    if (typeof found === 'number') return found;
    return isInode(reach, inode, found) ? found : ESTALE;
  });
  if (status !== ESTALE) return status;
  const fd = reach.files.findInode(inode);
  return fd < 0 ? ESTALE : reach.status.ofDescriptor(fd);
}

/**
 * Calls `use` with a descriptor of an inode, which may be an O_PATH one. It is surely of the file that the guest has looked up, of
 * the type that it had then.
 */
export function withDescriptor<T>(reach: Reach, inode: Inode, use: (fd: number) => T | Errno): T | Errno {
  if (!reach.table.has(inode)) return ESTALE;
  const open = openDescriptor(reach, inode);
  if (open >= 0) return use(open);
  if (reach.table.isDirectory(inode)) {
    const directory = reach.directories.get(inode);
    return directory < 0 ? -directory : use(directory);
  }
  const fd = openByName(reach, inode);
  if (fd >= 0) {
    const result = use(fd);
    libc().close(fd);
    return result;
  }
  const handle = fd === -ESTALE ? reach.files.findInode(inode) : -1;
  return handle < 0 ? -fd : use(handle);
}

/** Returns the descriptor of a directory by its inode as the guest sent it, or -errno. */
export function directoryOf(reach: Reach, inode: Inode): number {
  if (!reach.table.has(inode)) return -ESTALE;
  return reach.table.isDirectory(inode) ? reach.directories.get(inode) : -ENOTDIR;
}

function isInode({ table, status }: Reach, inode: Inode, found: FileStatus): boolean {
  return table.isSame(inode, status.identity(found));
}

/** Returns a descriptor that is open while the inode is known, else -1. */
function openDescriptor({ table, kept, directories }: Reach, inode: Inode): number {
  const fd = kept.get(inode);
  return fd >= 0 || !table.isDirectory(inode) ? fd : directories.peek(inode);
}

/** Opens an inode by its names. @returns an O_PATH descriptor, or -errno */
function openByName(reach: Reach, inode: Inode): number {
  const fd = byName(reach, inode, (directory, name) => {
    const opened = orError(libc().openat(directory, name, FLAGS, 0));
    if (opened < 0) return -opened;
    const found = reach.status.ofDescriptor(opened);
    if (typeof found !== 'number' && isInode(reach, inode, found)) return { opened };
    libc().close(opened);
    return typeof found === 'number' ? found : ESTALE;
  });
  return typeof fd === 'number' ? -fd : fd.opened;
}

/** Calls `use` with the names of an inode until it finds the file. @returns its result, or why no name leads to the file */
function byName<T extends object>(
  { table, directories }: Reach,
  inode: Inode,
  use: (directory: number, name: number) => T | Errno,
): T | Errno {
  for (;;) {
    const link = table.firstLink(inode);
    if (link === 0) return ESTALE;
    const directory = directories.get(table.links.parentOf(link));
    const result = directory < 0 ? -directory : use(directory, table.links.nameAddress(link));
    if (typeof result !== 'number') return result;
    const error = staleIfGone(result);
    if (error !== ESTALE || table.links.nextOf(link) === 0) return error;
    table.dropFirstLink(inode);
  }
}
