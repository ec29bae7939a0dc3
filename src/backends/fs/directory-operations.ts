import { libc } from '../../native/libc.ts';
import type {
  DirectorySink,
  Done,
  Entry,
  FileSystem,
  Handle,
  NodeId,
  Opened,
  Result,
} from '../fuse/file-system.ts';
import { DirectoryStream, type HostEntry } from './directory-stream.ts';
import { lookupIn } from './entry-operations.ts';
import { doneOf, ENFILE, ENOTDIR, ESTALE } from './errors.ts';
import { S_IFREG, typeOf } from './file-types.ts';
import { READ_DIRECTORY } from './file-operations.ts';
import { withDescriptor } from './inode-access.ts';
import { ROOT_INODE } from './inode-table.ts';
import type { OpenFile } from './open-files.ts';
import type { Share } from './share.ts';

/* Directories: opened and read. Each open directory has a descriptor of its own, as its position is on the host. */

type DirectoryOperations = Pick<FileSystem, 'opendir' | 'readdir' | 'releasedir' | 'fsyncdir'>;

const DOT = 0x2e;

/** Returns the operations on open directories. */
export function directoryOperations(share: Share): DirectoryOperations {
  return {
    opendir: (_caller, node) => opendir(share, node),
    readdir: (_caller, from, sink) => readdir(share, from, sink),
    releasedir: (node, handle) => share.files.remove(node, handle),
    fsyncdir: (node, handle, dataOnly) => {
      const fd = share.files.descriptorOf(node, handle);
      return fd < 0 ? -fd : doneOf(dataOnly ? libc().fdatasync(fd) : libc().fsync(fd));
    },
  };
}

function opendir(share: Share, node: NodeId): Result<Opened> {
  if (!share.table.has(node)) return ESTALE;
  if (!share.table.isDirectory(node)) return ENOTDIR;
  if (share.files.isFull) return ENFILE;
  return withDescriptor(share, node, (path) => {
    const fd = share.path.open(path, READ_DIRECTORY);
    if (fd < 0) return -fd;
    const handle = share.files.add({
      inode: node,
      fd,
      flags: 0,
      isDirectory: true,
      stream: new DirectoryStream(fd, share.blocks),
    });
    return handle < 0 ? -handle : { handle };
  });
}

interface Position {
  readonly node: NodeId;
  readonly handle: Handle;
  readonly offset: bigint;
}

function readdir(share: Share, { node, handle, offset }: Position, sink: DirectorySink): Done {
  const file = share.files.get(node, handle);
  if (typeof file === 'number') return file;
  if (file.stream === undefined) return ENOTDIR;
  return file.stream.read(offset, (entry) => {
    if (!sink.fits(entry.name.length)) return false;
    addEntry(share, file, entry, sink);
    return true;
  });
}

function addEntry(share: Share, { inode, fd }: OpenFile, entry: HostEntry, sink: DirectorySink): void {
  const isDots = isDotEntry(entry.name);
  // the parent of the shared directory is not the guest's concern
  const number = isDots && inode === ROOT_INODE ? share.table.identityOf(ROOT_INODE).inode : entry.inode;
  const { device } = share.table.identityOf(inode);
  const found = sink.plus && !isDots ? lookupEntry(share, inode, fd, entry) : undefined;
  const type = found === undefined ? shownType(share, entry.type << 12) : typeOf(found.attributes.mode);
  sink.add({ name: entry.name, inode: share.shownInode(device, number), type, next: entry.next }, found);
}

/** Returns the type of an entry on the host as the guest sees it; 0 where only a lookup tells. */
function shownType({ ownership }: Share, type: number): number {
  return ownership.hidesTypes && type === S_IFREG ? 0 : type;
}

function lookupEntry(
  share: Share,
  inode: NodeId,
  fd: number,
  { name, nameAddress }: HostEntry,
): Entry | undefined {
  const entry = lookupIn(share, fd, inode, { bytes: name, address: nameAddress });
  return typeof entry === 'number' ? undefined : entry;
}

function isDotEntry(name: Uint8Array): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
}
