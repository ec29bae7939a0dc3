import { type FileStatus, StatusBuffer } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import type { Attributes, Done, Errno } from '../fuse/file-system.ts';
import type { DescriptorPath } from './descriptor-path.ts';
import { doneOf, EOPNOTSUPP, EPERM } from './errors.ts';
import {
  isDevice,
  PERMISSIONS,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  SPECIAL_BITS,
  typeOf,
  withoutPrivileges,
} from './file-types.ts';
import type { IdMaps } from './id-map.ts';
import { KeptAttribute } from './kept-attribute.ts';
import type { KeptStatus } from './kept-status.ts';
import type { Made, Ownership } from './ownership.ts';

/*
 * Ownership as an ordinary user. All files that the guest makes belong to that user on the host, who can always read and write
 * them. Owner, special bits and missing permissions of the user are kept in `user.virtiofs.stat` where they differ from the host's;
 * device nodes, FIFOs and sockets are empty regular files with their type kept. The kernel of the guest checks permissions.
 *
 * - A change of permissions by a process of the host wins: the kept ones no longer belong to those of the file.
 * - Symlinks, and special files that the host has made, cannot keep anything. An owner of a symlink is accepted and ignored, as no
 *   permission depends on it; tools that unpack archives set one.
 * - Where the file system has no `user` attributes, a new file belongs to the user in the guest too, and EPERM refuses other owners,
 *   special bits and special files.
 */

const NAME = 'user.virtiofs.stat';

/** Permissions of the user that the server needs, of a file and of a directory. */
const [FILE_MINIMUM, DIRECTORY_MINIMUM] = [0o600, 0o700];

/** Owner, mode and device number that the guest shall see. */
interface Wanted {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly device: number;
}

/** Creates it. `maps` give the ids in the guest of files without a kept owner. */
export function mappedOwnership(path: DescriptorPath, maps: IdMaps): Ownership {
  const state = { path, maps, kept: new KeptAttribute(path, NAME), status: new StatusBuffer() };
  return {
    hidesTypes: true,
    make: ({ mode }, make) => make(hostMode(mode)),
    adopts: (mode) => typeOf(mode) !== S_IFLNK,
    adopt: (fd, made) => adopt(state, fd, made),
    attributes: (status, read) => {
      if (!canKeep(status.mode)) return shownBy(state, status, {});
      const kept = read(state.kept);
      return typeof kept === 'number' ? kept : shownBy(state, status, kept);
    },
    setMode: (fd, mode) => change(state, fd, (now) => ({ ...now, mode: typeOf(now.mode) | (mode & 0o7777) })),
    setOwner: (fd, uid, gid) =>
      change(state, fd, (now) => ({
        ...now,
        uid: uid ?? now.uid,
        gid: gid ?? now.gid,
        mode: withoutPrivileges(now.mode),
      })),
    free: () => {
      state.kept.free();
      state.status.free();
    },
  };
}

interface State {
  readonly path: DescriptorPath;
  readonly maps: IdMaps;
  readonly kept: KeptAttribute;
  readonly status: StatusBuffer;
}

/** Only regular files and directories can have attributes of a user. */
function canKeep(mode: number): boolean {
  return typeOf(mode) === S_IFREG || typeOf(mode) === S_IFDIR;
}

/** Returns type and permissions on the host of a file that the guest makes. */
function hostMode(mode: number): number {
  const type = typeOf(mode);
  return type === S_IFLNK ? mode : (type === S_IFDIR ? S_IFDIR : S_IFREG) | hostPermissions(mode);
}

/** Returns the permissions on the host of a file with a mode in the guest. Other processes of the host get those of the guest. */
function hostPermissions(mode: number): number {
  if (typeOf(mode) === S_IFDIR) return (mode & PERMISSIONS) | DIRECTORY_MINIMUM;
  return typeOf(mode) === S_IFREG ? (mode & PERMISSIONS) | FILE_MINIMUM : FILE_MINIMUM;
}

function shownBy({ maps }: State, status: FileStatus, kept: KeptStatus): Attributes & FileStatus {
  const mode = shownMode(status.mode, kept.mode);
  const isSpecial = typeOf(mode) !== typeOf(status.mode);
  return {
    ...status,
    uid: kept.uid ?? maps.users.toGuest(status.uid),
    gid: kept.gid ?? maps.groups.toGuest(status.gid),
    mode,
    device: isSpecial ? (kept.device ?? 0) : status.device,
    size: isSpecial ? 0 : status.size,
  };
}

function shownMode(real: number, kept: number | undefined): number {
  if (kept === undefined || !canStandFor(typeOf(real), typeOf(kept))) return real;
  return (real & 0o7777) === hostPermissions(kept) ? kept : (kept & S_IFMT) | (real & 0o7777);
}

function canStandFor(real: number, kept: number): boolean {
  if (real === kept) return true;
  return real === S_IFREG && (kept === S_IFIFO || kept === S_IFSOCK || isDevice(kept));
}

function adopt(state: State, fd: number, { caller, mode, parent, device }: Made): Done {
  const status = state.status.ofDescriptor(fd);
  if (typeof status === 'number') return status;
  const directory = shownStatus(state, parent);
  if (typeof directory === 'number') return directory;
  // new entries of a directory with S_ISGID get its group, and directories the bit too
  const inherits = (directory.mode & S_ISGID) !== 0;
  const wanted = {
    uid: caller.uid,
    gid: inherits ? directory.gid : caller.gid,
    mode: inherits && typeOf(mode) === S_IFDIR ? mode | S_ISGID : mode,
    device,
  };
  const error = apply(state, fd, status, wanted);
  if (error !== EOPNOTSUPP) return error;
  const isPlain = typeOf(mode) === typeOf(status.mode) && (mode & SPECIAL_BITS) === 0;
  return isPlain ? setPermissions(state, fd, status, mode & PERMISSIONS) : EPERM;
}

/** Changes owner or mode of a file. */
function change(state: State, fd: number, next: (now: Wanted) => Wanted): Done {
  const status = state.status.ofDescriptor(fd);
  if (typeof status === 'number') return status;
  const now = shownOf(state, fd, status);
  if (typeof now === 'number') return now;
  const wanted = next(now);
  if (typeOf(status.mode) === S_IFLNK) return wanted.mode === now.mode ? 0 : EOPNOTSUPP;
  const error = canKeep(status.mode) ? apply(state, fd, status, wanted) : EOPNOTSUPP;
  if (error !== EOPNOTSUPP) return error;
  const isPlain =
    wanted.uid === now.uid && wanted.gid === now.gid && (wanted.mode & SPECIAL_BITS & ~status.mode) === 0;
  return isPlain ? setPermissions(state, fd, status, wanted.mode & 0o7777) : EPERM;
}

/** Returns attributes of an open file as the guest sees them. */
function shownStatus(state: State, fd: number): FileStatus | Errno {
  const status = state.status.ofDescriptor(fd);
  return typeof status === 'number' ? status : shownOf(state, fd, status);
}

function shownOf(state: State, fd: number, status: FileStatus): FileStatus | Errno {
  const kept = canKeep(status.mode) ? state.kept.read(fd) : {};
  return typeof kept === 'number' ? kept : shownBy(state, status, kept);
}

/**
 * Sets the permissions of the host, and keeps what they do not express. An error leaves both as they were.
 * @returns EOPNOTSUPP where the file system has no such attributes
 */
function apply(state: State, fd: number, status: FileStatus, wanted: Wanted): Done {
  const permissions = hostPermissions(wanted.mode);
  // the attribute of a file can be written after its permissions allow that
  const error = setPermissions(state, fd, status, permissions);
  if (error !== 0) return error;
  const failed = state.kept.write(fd, difference(state, status, wanted));
  if (failed !== 0) setPermissions(state, fd, { mode: permissions }, status.mode & 0o7777);
  return failed;
}

/** Returns the part of a status that has to be kept. */
function difference({ maps }: State, status: FileStatus, { uid, gid, mode, device }: Wanted): KeptStatus {
  const isOnHost = mode === (typeOf(status.mode) | hostPermissions(mode));
  return {
    ...(uid !== maps.users.toGuest(status.uid) && { uid }),
    ...(gid !== maps.groups.toGuest(status.gid) && { gid }),
    ...(!isOnHost && { mode }),
    ...(!isOnHost && isDevice(mode) && { device }),
  };
}

function setPermissions(
  { path }: State,
  fd: number,
  { mode }: Pick<FileStatus, 'mode'>,
  permissions: number,
): Done {
  return (mode & 0o7777) === permissions ? 0 : doneOf(libc().fchmodat(-1, path.of(fd), permissions, 0));
}
