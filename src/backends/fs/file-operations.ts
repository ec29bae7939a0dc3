import { libc } from '../../native/libc.ts';
import {
  hostOpenFlags,
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from '../../native/open-flags.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import type {
  Creation,
  Done,
  Entry,
  Errno,
  FileSystem,
  NodeId,
  Opened,
  Range,
  Result,
  WriteFlags,
} from '../fuse/file-system.ts';
import { killPrivileges } from './attribute-operations.ts';
import { doneOf, EEXIST, EINVAL, EISDIR, ELOOP, ENFILE, ENOENT, ENXIO, EROFS, orError } from './errors.ts';
import { readInto, writeFrom } from './file-transfer.ts';
import { directoryOf, withDescriptor } from './inode-access.ts';
import { DIRECTORY_TYPE, REGULAR_TYPE } from './inode-table.ts';
import { hasWriteback } from './options.ts';
import { entryOf, type Share } from './share.ts';

/*
 * Regular files: opened, read and written. A file is opened in two steps: an O_PATH descriptor, of which inode and type are
 * compared, and that one again. So a FIFO or device that has replaced a file on the host is never opened.
 */

type FileOperations = Pick<
  FileSystem,
  'open' | 'create' | 'read' | 'write' | 'release' | 'fsync' | 'lseek' | 'fallocate' | 'copyFileRange'
>;

const SYMLINK_TYPE = 10;
/** A file that is removed between two calls is made again; a host that goes on so gets an error. */
const CREATE_ATTEMPTS = 8;

/** Returns the operations on files. */
export function fileOperations(share: Share): FileOperations {
  return {
    open: (_caller, node, flags) => open(share, node, flags),
    create: (creation, flags) => create(share, creation, flags),
    read: (range, into) => read(share, range, into),
    write: (_caller, range, from) => write(share, range, from),
    release: (node, handle) => share.files.remove(node, handle),
    fsync: (node, handle, dataOnly) =>
      onFile(share, { node, handle }, (fd) => doneOf(dataOnly ? libc().fdatasync(fd) : libc().fsync(fd))),
    lseek: (node, handle, { offset, whence }) => {
      const fd = share.files.descriptorOf(node, handle);
      return fd < 0 ? fd : orError(libc().lseek(fd, offset, whence));
    },
    fallocate: (range, mode) =>
      onFile(share, range, (fd) => doneOf(libc().fallocate(fd, mode, range.offset, range.length))),
    copyFileRange: (from, to) => copyFileRange(share, from, to),
  };
}

/** Calls `use` with the descriptor of an open file. */
function onFile(
  share: Share,
  { node, handle }: Pick<Range, 'node' | 'handle'>,
  use: (fd: number) => Done,
): Done {
  const fd = share.files.descriptorOf(node, handle);
  return fd < 0 ? -fd : use(fd);
}

function writes(flags: number): boolean {
  return (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0;
}

/**
 * Returns the flags with which an O_PATH descriptor of a regular file is opened again. With a writeback cache, the guest reads pages
 * of files that it writes in parts, and chooses the offset of appended data itself. A readonly directory is never written, but a guest
 * that is restored with one may have opened files for writing when it was not.
 */
export function reopenFlags({ options }: Share, guestFlags: number): number {
  const flags = hostOpenFlags(guestFlags) & ~(O_NOFOLLOW | O_EXCL | O_CREAT);
  if (options.readonly === true) return (flags & ~(O_ACCMODE | O_APPEND | O_TRUNC)) | O_RDONLY;
  if (!hasWriteback(options)) return flags;
  const access = flags & O_ACCMODE;
  return (flags & ~(O_ACCMODE | O_APPEND)) | (access === O_WRONLY ? O_RDWR : access);
}

function errorOfType(type: number): Errno {
  if (type === REGULAR_TYPE) return 0;
  if (type === DIRECTORY_TYPE) return EISDIR;
  return type === SYMLINK_TYPE ? ELOOP : ENXIO;
}

function open(share: Share, node: NodeId, flags: number): Result<Opened> {
  if (share.options.readonly === true && writes(flags)) return EROFS;
  if (share.files.isFull) return ENFILE;
  const error = share.table.has(node) ? errorOfType(share.table.identityOf(node).type) : 0;
  if (error !== 0) return error;
  return withDescriptor(share, node, (path) => {
    const fd = share.path.open(path, reopenFlags(share, flags));
    if (fd < 0) return -fd;
    if (writes(flags)) share.guestAttributes.dropCapability(fd);
    const handle = share.files.add({ inode: node, fd, flags, isDirectory: false });
    return handle < 0 ? -handle : { handle };
  });
}

function create(share: Share, creation: Creation, flags: number): Result<Entry & Opened> {
  if (share.options.readonly === true) return EROFS;
  if (share.files.isFull) return ENFILE;
  const directory = directoryOf(share, creation.parent);
  if (directory < 0) return -directory;
  for (let attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
    const made = createNew(share, directory, creation, flags);
    if (made !== EEXIST || (flags & O_EXCL) !== 0) return made;
    const found = openExisting(share, directory, creation, flags);
    if (found !== ENOENT) return found;
  }
  return ENOENT;
}

function createNew(
  share: Share,
  directory: number,
  creation: Creation,
  flags: number,
): Result<Entry & Opened> {
  const { name, caller, mode } = creation;
  const { ownership } = share;
  const hostFlags = reopenFlags(share, flags) | O_CREAT | O_EXCL | O_NOFOLLOW;
  const fd = ownership.make(creation, (hostMode) =>
    orError(libc().openat(directory, name.address, hostFlags, hostMode & 0o7777)),
  );
  if (fd < 0) return -fd;
  const made = { caller, mode, parent: directory, device: 0 };
  const error = ownership.adopts(mode) ? ownership.adopt(fd, made) : 0;
  if (error === 0) return enter(share, creation, fd, flags);
  libc().close(fd);
  libc().unlinkat(directory, name.address, 0);
  return error;
}

function openExisting(
  share: Share,
  directory: number,
  creation: Creation,
  flags: number,
): Result<Entry & Opened> {
  const path = libc().openat(directory, creation.name.address, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
  if (path < 0) return -orError(path);
  const status = share.status.ofDescriptor(path);
  const error = typeof status === 'number' ? status : errorOfType(status.mode >>> 12);
  const fd = error === 0 ? share.path.open(path, reopenFlags(share, flags)) : -error;
  libc().close(path);
  return fd < 0 ? -fd : enter(share, creation, fd, flags);
}

/** Adds an open file to the table of inodes and that of open files; closes it where that fails. */
function enter(share: Share, { parent, name }: Creation, fd: number, flags: number): Result<Entry & Opened> {
  const status = share.status.ofDescriptor(fd);
  const entry =
    typeof status === 'number'
      ? status
      : entryOf(share, { parent, name: name.bytes, read: (kept) => kept.read(fd) }, status);
  if (typeof entry === 'number') {
    libc().close(fd);
    return entry;
  }
  const handle = share.files.add({ inode: entry.node, fd, flags, isDirectory: false });
  if (handle >= 0) return { ...entry, handle };
  share.table.forget(entry.node, 1);
  return -handle;
}

function read(share: Share, { node, handle, offset, length }: Range, into: Parts): number {
  const file = share.files.get(node, handle);
  if (typeof file === 'number') return -file;
  return file.stream === undefined ? readInto({ fd: file.fd, offset, length }, into) : -EISDIR;
}

function write(share: Share, range: Range & WriteFlags, from: Parts): number {
  const { node, handle, offset, length } = range;
  const fd = share.files.descriptorOf(node, handle);
  if (fd < 0) return fd;
  if (range.killsPrivileges) {
    const error = killPrivileges(share, fd);
    if (error !== 0) return -error;
  }
  return writeFrom({ fd, offset, length }, from);
}

/** Offsets of copy_file_range(2) in memory. */
const COPY = { from: 0, to: 8 } as const;

function copyFileRange(share: Share, from: Range, to: Omit<Range, 'length'>): number {
  const source = share.files.descriptorOf(from.node, from.handle);
  if (source < 0) return source;
  const target = share.files.descriptorOf(to.node, to.handle);
  if (target < 0) return target;
  if (from.offset < 0 || to.offset < 0) return -EINVAL;
  const { view, address } = share.scratch;
  view.setBigInt64(COPY.from, BigInt(from.offset), true);
  view.setBigInt64(COPY.to, BigInt(to.offset), true);
  return orError(
    libc().copy_file_range(source, address + COPY.from, target, address + COPY.to, from.length, 0),
  );
}

/** Flags with which an O_PATH descriptor of a directory is opened again, to read it. */
export const READ_DIRECTORY = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
