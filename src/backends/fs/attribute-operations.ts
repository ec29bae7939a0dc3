import { libc } from '../../native/libc.ts';
import type { Block } from '../../native/memory.ts';
import { O_CLOEXEC, O_NONBLOCK, O_WRONLY } from '../../native/open-flags.ts';
import type {
  AttributeChange,
  Attributes,
  Done,
  Errno,
  FileSystem,
  FileSystemStatus,
  Handle,
  NodeId,
  Result,
  Timestamp,
} from '../fuse/file-system.ts';
import { doneOf, EINVAL, EISDIR, EROFS, lastError } from './errors.ts';
import { withoutPrivileges } from './file-types.ts';
import { statusOf, withDescriptor } from './inode-access.ts';
import { REGULAR_TYPE } from './inode-table.ts';
import { attributesOf, type Share } from './share.ts';

/* Attributes of inodes and of the file system. */

type AttributeOperations = Pick<FileSystem, 'getattr' | 'setattr' | 'access' | 'statfs' | 'syncfs'>;

const UTIME_NOW = 0x3fff_ffff;
const UTIME_OMIT = 0x3fff_fffe;
/** Bytes of `struct timespec`. */
const TIME_BYTES = 16;
const WRITE_ACCESS = 2;

/** Returns the operations on attributes. */
export function attributeOperations(share: Share): AttributeOperations {
  return {
    getattr: (node, handle) => getattr(share, node, handle),
    setattr: (_caller, node, change) => setattr(share, node, change),
    access: (_caller, node, mask) => access(share, node, mask),
    statfs: (node) => withDescriptor(share, node, (fd) => statfs(share, fd)),
    syncfs: () => doneOf(libc().syncfs(share.root)),
  };
}

function getattr(share: Share, node: NodeId, handle: Handle | undefined): Result<Attributes> {
  const fd = handle === undefined ? -1 : share.files.descriptorOf(node, handle);
  const status = fd < 0 ? statusOf(share, node) : share.status.ofDescriptor(fd);
  return typeof status === 'number' ? status : attributesOf(share, node, status);
}

function setattr(share: Share, node: NodeId, change: AttributeChange): Result<Attributes> {
  if (share.options.readonly === true) return EROFS;
  const handle = change.handle === undefined ? -1 : share.files.descriptorOf(node, change.handle);
  const apply = (fd: number): Done => applyChange(share, { node, fd, handle }, change);
  const error = handle < 0 ? withDescriptor(share, node, apply) : apply(handle);
  return error === 0 ? getattr(share, node, change.handle) : error;
}

/** A file whose attributes change, by an O_PATH descriptor perhaps, and by the guest's handle if that is a number above 0. */
interface Target {
  readonly node: NodeId;
  readonly fd: number;
  readonly handle: number;
}

/** Makes the changes until one fails. The owner comes before the mode, as a change of the owner removes bits of the mode. */
function applyChange(share: Share, target: Target, change: AttributeChange): Done {
  const { fd } = target;
  const { uid, gid, mode, size, accessed, modified, killsPrivileges } = change;
  const steps = [
    () => (uid === undefined && gid === undefined ? 0 : setOwner(share, fd, uid, gid)),
    () => (mode === undefined ? 0 : share.ownership.setMode(fd, mode)),
    () => (size === undefined ? 0 : truncate(share, target, size)),
    () => (killsPrivileges === true && mode === undefined ? killPrivileges(share, fd) : 0),
    () => (accessed === undefined && modified === undefined ? 0 : setTimes(share, fd, change)),
  ];
  for (const step of steps) {
    const error = step();
    if (error !== 0) return error;
  }
  return 0;
}

function setOwner(share: Share, fd: number, uid: number | undefined, gid: number | undefined): Done {
  const error = share.ownership.setOwner(fd, uid, gid);
  if (error === 0) share.guestAttributes.dropCapability(fd);
  return error;
}

function truncate(share: Share, { node, fd, handle }: Target, size: number): Errno {
  const type = share.table.identityOf(node).type;
  if (type !== REGULAR_TYPE) return share.table.isDirectory(node) ? EISDIR : EINVAL;
  // an open for writing has removed it
  if (handle >= 0) return doneOf(libc().ftruncate(handle, size));
  share.guestAttributes.dropCapability(fd);
  const opened = share.path.open(fd, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (opened < 0) return -opened;
  const error = doneOf(libc().ftruncate(opened, size));
  libc().close(opened);
  return error;
}

/** Removes the set-user-ID and set-group-ID bits of a file, as a write by an ordinary process does. */
export function killPrivileges(share: Share, fd: number): Errno {
  const status = share.status.ofDescriptor(fd);
  if (typeof status === 'number') return status;
  const attributes = share.ownership.attributes(status, (kept) => kept.read(fd));
  if (typeof attributes === 'number') return attributes;
  const { mode } = attributes;
  const rest = withoutPrivileges(mode);
  return rest === mode ? 0 : share.ownership.setMode(fd, rest & 0o7777);
}

function setTimes(share: Share, fd: number, { accessed, modified }: AttributeChange): Errno {
  putTime(share.scratch, 0, accessed);
  putTime(share.scratch, TIME_BYTES, modified);
  return doneOf(libc().utimensat(-1, share.path.of(fd), share.scratch.address, 0));
}

function putTime({ view }: Block, at: number, time: Timestamp | 'now' | undefined): void {
  const isTime = time !== undefined && time !== 'now';
  view.setBigInt64(at, BigInt(isTime ? time.seconds : 0), true);
  const special = time === 'now' ? UTIME_NOW : UTIME_OMIT;
  view.setBigInt64(at + 8, BigInt(isTime ? time.nanoseconds : special), true);
}

/** The kernel of the guest checks permissions (`default_permissions`). */
function access(share: Share, node: NodeId, mask: number): Done {
  if (share.options.readonly === true && (mask & WRITE_ACCESS) !== 0) return EROFS;
  const status = statusOf(share, node);
  return typeof status === 'number' ? status : 0;
}

/** Offsets in `struct statfs` of 64-bit Linux. */
const STATFS = {
  blockSize: 8,
  blocks: 16,
  blocksFree: 24,
  blocksAvailable: 32,
  files: 40,
  filesFree: 48,
  nameLength: 64,
  fragmentSize: 72,
} as const;

function statfs({ scratch: { view, address } }: Share, fd: number): Result<FileSystemStatus> {
  if (libc().fstatfs(fd, address) < 0) return lastError();
  const at = (offset: number): number => Number(view.getBigUint64(offset, true));
  return {
    blocks: at(STATFS.blocks),
    blocksFree: at(STATFS.blocksFree),
    blocksAvailable: at(STATFS.blocksAvailable),
    files: at(STATFS.files),
    filesFree: at(STATFS.filesFree),
    blockSize: at(STATFS.blockSize),
    nameLength: at(STATFS.nameLength),
    fragmentSize: at(STATFS.fragmentSize),
  };
}
