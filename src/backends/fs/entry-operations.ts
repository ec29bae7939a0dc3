import { AT_REMOVEDIR, AT_SYMLINK_FOLLOW } from '../../native/file-calls.ts';
import type { FileStatus } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import { O_CLOEXEC, O_NOFOLLOW, O_PATH } from '../../native/open-flags.ts';
import type {
  Creation,
  Done,
  Entry,
  Errno,
  FileSystem,
  Name,
  NodeId,
  Place,
  Result,
} from '../fuse/file-system.ts';
import { doneOf, EPERM, EROFS, orError } from './errors.ts';
import { S_IFDIR, S_IFLNK, S_IFREG, typeOf } from './file-types.ts';
import { directoryOf, withDescriptor } from './inode-access.ts';
import type { Inode } from './inode-table.ts';
import { entryOf, type Share } from './share.ts';

/*
 * Entries of directories: found, made, removed and renamed. Each call on the host is on one component of a name in the descriptor of
 * a directory and follows no symlink.
 */

type EntryOperations = Pick<
  FileSystem,
  'lookup' | 'symlink' | 'mknod' | 'mkdir' | 'unlink' | 'rmdir' | 'rename' | 'link' | 'readlink'
>;

const RENAME_EXCHANGE = 2;
/** Bytes of the longest target of a symlink. */
const TARGET_BYTES = 4096;

/** Returns the operations on entries. */
export function entryOperations(share: Share): EntryOperations {
  const isReadonly = share.options.readonly === true;
  return {
    lookup: (_caller, place) => lookup(share, place),
    symlink: (creation, target) =>
      create(share, creation, (directory, name) => libc().symlinkat(target.address, directory, name)),
    mknod: (creation, device) => mknod(share, creation, device),
    mkdir: (creation) =>
      create(share, creation, (directory, name, mode) => libc().mkdirat(directory, name, mode & 0o7777)),
    unlink: (_caller, place) => (isReadonly ? EROFS : remove(share, place, 0)),
    rmdir: (_caller, place) => (isReadonly ? EROFS : remove(share, place, AT_REMOVEDIR)),
    rename: (_caller, move) => (isReadonly ? EROFS : rename(share, move)),
    link: (_caller, node, to) => (isReadonly ? EROFS : link(share, node, to)),
    readlink: (node) => readlink(share, node),
  };
}

/** Looks an entry up: the guest knows its inode from now on. */
export function lookup(share: Share, { parent, name }: Place): Result<Entry> {
  const directory = directoryOf(share, parent);
  if (directory < 0) return -directory;
  return lookupIn(share, directory, parent, name);
}

/** Looks up an entry of a directory that is open. */
export function lookupIn(share: Share, directory: number, parent: Inode, name: Name): Result<Entry> {
  const status = share.status.ofEntry(directory, name.address);
  if (typeof status === 'number') return status;
  const { bytes } = name;
  return entryOf(share, { parent, name: bytes, read: (kept) => kept.readEntry(directory, bytes) }, status);
}

function mknod(share: Share, creation: Creation, device: number): Result<Entry> {
  const type = typeOf(creation.mode);
  if (share.options.readonly !== true && (type === S_IFDIR || type === S_IFLNK)) return EPERM;
  const mode = type === 0 ? S_IFREG | creation.mode : creation.mode;
  return create(
    share,
    { ...creation, mode },
    (directory, name, hostMode) => libc().mknodat(directory, name, hostMode, device),
    device,
  );
}

/** Makes an entry by `call`, in the name of the guest's process, and looks it up. */
function create(
  share: Share,
  creation: Creation,
  call: (directory: number, name: number, mode: number) => number,
  device = 0,
): Result<Entry> {
  if (share.options.readonly === true) return EROFS;
  const { parent, name, mode } = creation;
  const directory = directoryOf(share, parent);
  if (directory < 0) return -directory;
  const made = share.ownership.make(creation, (hostMode) => orError(call(directory, name.address, hostMode)));
  if (made < 0) return -made;
  const error = share.ownership.adopts(mode) ? adopt(share, directory, creation, device) : 0;
  return error === 0 ? lookupIn(share, directory, parent, name) : error;
}

/** Keeps owner and mode of an entry that was made; removes it where that fails. */
function adopt(share: Share, directory: number, { name, caller, mode }: Creation, device: number): Done {
  const fd = orError(libc().openat(directory, name.address, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
  if (fd < 0) return -fd;
  const error = share.ownership.adopt(fd, { caller, mode, parent: directory, device });
  libc().close(fd);
  if (error !== 0) libc().unlinkat(directory, name.address, typeOf(mode) === S_IFDIR ? AT_REMOVEDIR : 0);
  return error;
}

function link(share: Share, node: NodeId, { parent, name }: Place): Result<Entry> {
  const directory = directoryOf(share, parent);
  if (directory < 0) return -directory;
  const error = withDescriptor(share, node, (fd) =>
    doneOf(libc().linkat(-1, share.path.of(fd), directory, name.address, AT_SYMLINK_FOLLOW)),
  );
  return error === 0 ? lookupIn(share, directory, parent, name) : error;
}

function readlink(share: Share, node: NodeId): Result<Uint8Array> {
  return withDescriptor(share, node, (fd) => {
    const { address } = share.scratch;
    const empty = address + TARGET_BYTES;
    share.scratch.view.setUint8(TARGET_BYTES, 0);
    const length = orError(libc().readlinkat(fd, empty, address, TARGET_BYTES));
    return length < 0 ? -length : new Uint8Array(libc().bytesAt(address, length)).slice();
  });
}

/** An inode of the guest that an entry leads to, with an O_PATH descriptor. */
interface Held {
  readonly inode: Inode;
  readonly fd: number;
  readonly status: FileStatus;
}

/** Opens the inode that an entry leads to if the guest knows it. */
function hold({ table, status }: Share, directory: number, name: number): Held | undefined {
  const fd = libc().openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const found = status.ofDescriptor(fd);
  const inode = typeof found === 'number' ? 0 : table.find(status.identity(found));
  if (typeof found !== 'number' && inode !== 0) return { inode, fd, status: found };
  libc().close(fd);
  return undefined;
}

/** Keeps the descriptor of an inode that has lost its last name, closes that of another one. */
function keep({ table, kept }: Share, { inode, fd, status }: Held): void {
  const hasOther = status.links > 1 && table.firstLink(inode) !== 0;
  if (table.has(inode) && !hasOther) kept.put(inode, fd);
  else libc().close(fd);
}

function remove(share: Share, { parent, name }: Place, flags: number): Done {
  const directory = directoryOf(share, parent);
  if (directory < 0) return -directory;
  const held = hold(share, directory, name.address);
  const error = doneOf(libc().unlinkat(directory, name.address, flags));
  if (held === undefined) return error;
  if (error !== 0) {
    libc().close(held.fd);
    return error;
  }
  share.table.unlink(held.inode, parent, name.bytes);
  keep(share, held);
  return 0;
}

function rename(share: Share, { from, to, flags }: Parameters<FileSystem['rename']>[1]): Errno {
  const source = directoryOf(share, from.parent);
  if (source < 0) return -source;
  const target = directoryOf(share, to.parent);
  if (target < 0) return -target;
  const isExchange = (flags & RENAME_EXCHANGE) !== 0;
  const replaced = isExchange ? undefined : hold(share, target, to.name.address);
  const error = doneOf(libc().renameat2(source, from.name.address, target, to.name.address, flags));
  if (error === 0) {
    if (replaced !== undefined) share.table.unlink(replaced.inode, to.parent, to.name.bytes);
    moveLink(share, { directory: target, from, to });
    if (isExchange) moveLink(share, { directory: source, from: to, to: from });
  }
  if (replaced === undefined) return error;
  if (error === 0) keep(share, replaced);
  else libc().close(replaced.fd);
  return error;
}

/** Sets that the inode which is at `to` now was at `from`. */
function moveLink(
  { table, status }: Share,
  { directory, from, to }: { directory: number; from: Place; to: Place },
): void {
  const found = status.ofEntry(directory, to.name.address);
  if (typeof found === 'number') return;
  const inode = table.find(status.identity(found));
  if (inode === 0) return;
  table.link(inode, to.parent, to.name.bytes);
  if (from.parent !== to.parent || Buffer.compare(from.name.bytes, to.name.bytes) !== 0)
    table.unlink(inode, from.parent, from.name.bytes);
}
