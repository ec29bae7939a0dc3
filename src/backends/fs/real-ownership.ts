import { UNCHANGED_ID } from '../../native/file-calls.ts';
import { type FileStatus, StatusBuffer } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import type { Attributes, Done, Errno } from '../fuse/file-system.ts';
import type { Credentials } from './credentials.ts';
import type { DescriptorPath } from './descriptor-path.ts';
import { doneOf, EOPNOTSUPP, EOVERFLOW, EPERM } from './errors.ts';
import {
  isDevice,
  PERMISSIONS,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  S_ISGID,
  S_ISVTX,
  SPECIAL_BITS,
  typeOf,
  withoutPrivileges,
} from './file-types.ts';
import type { IdMaps } from './id-map.ts';
import { KeptAttribute } from './kept-attribute.ts';
import type { KeptStatus } from './kept-status.ts';
import type { Making, Ownership } from './ownership.ts';

/*
 * Ownership as root: owners and modes of the guest are real, through the maps. Other users of the host may reach the directory, so
 * two things that a hostile guest could plant for them are kept in `trusted.virtiofs.stat`, which root alone can read and write:
 *
 * - Special bits of a regular file: the file has the sticky bit on the host, which means nothing there, and marks that its mode is kept.
 *   A file without that bit costs no further call.
 * - Owner and mode of a device node: the node belongs to root on the host, with mode 0.
 *
 * Special bits and device nodes that the host has made are shown as they are. EPERM refuses them where the file system has no
 * `trusted` attributes, or the root of a container may not write them.
 */

const NAME = 'trusted.virtiofs.stat';
/** Bit of a regular file on the host that marks that it keeps its mode. */
const MARK = S_ISVTX;

interface State {
  readonly path: DescriptorPath;
  readonly maps: IdMaps;
  readonly credentials: Credentials;
  readonly kept: KeptAttribute;
  readonly status: StatusBuffer;
}

/** Creates it, for the thread that has the credentials. */
export function realOwnership(path: DescriptorPath, maps: IdMaps, credentials: Credentials): Ownership {
  const state = { path, maps, credentials, kept: new KeptAttribute(path, NAME), status: new StatusBuffer() };
  return {
    hidesTypes: false,
    make: (making, make) => makeAs(state, making, make),
    adopts: needsKept,
    adopt: (fd, { mode, caller }) => {
      const { uid, gid } = caller;
      return refused(state.kept.write(fd, isDevice(mode) ? { uid, gid, mode } : { mode }));
    },
    attributes: (status, read) => {
      const kept = mayKeep(status.mode) ? read(state.kept) : {};
      return typeof kept === 'number' ? kept : shownBy(maps, status, kept);
    },
    setMode: (fd, mode) => {
      const status = state.status.ofDescriptor(fd);
      return typeof status === 'number' ? status : setMode(state, fd, status, mode & 0o7777);
    },
    setOwner: (fd, uid, gid) => {
      const status = state.status.ofDescriptor(fd);
      return typeof status === 'number' ? status : setOwner(state, fd, status, { uid, gid });
    },
    free: () => {
      state.kept.free();
      state.status.free();
    },
  };
}

/** Returns whether a file that the guest asks for with a mode has to keep a part of it. */
function needsKept(mode: number): boolean {
  return isDevice(mode) || (typeOf(mode) === S_IFREG && (mode & SPECIAL_BITS) !== 0);
}

/** Returns whether a file with a mode on the host may keep another one. */
function mayKeep(mode: number): boolean {
  return isDevice(mode) || (typeOf(mode) === S_IFREG && (mode & MARK) !== 0);
}

/** Returns permission bits on the host of a file with a mode in the guest. */
function hostBits(mode: number): number {
  if (typeOf(mode) === S_IFDIR) return mode & 0o7777;
  if (isDevice(mode)) return 0;
  return (mode & PERMISSIONS) | (needsKept(mode) ? MARK : 0);
}

function makeAs({ maps, credentials }: State, making: Making, make: (hostMode: number) => number): number {
  const { caller, mode } = making;
  const hostMode = typeOf(mode) | hostBits(mode);
  // a user of the host could give itself access to a node that belongs to it
  if (isDevice(mode)) return make(hostMode);
  const [uid, gid] = [maps.users.toHost(caller.uid), maps.groups.toHost(caller.gid)];
  if (uid === undefined || gid === undefined) return -EOVERFLOW;
  return credentials.asCaller(uid, gid, () => make(hostMode));
}

function shownBy({ users, groups }: IdMaps, status: FileStatus, kept: KeptStatus): Attributes & FileStatus {
  const mode = shownMode(status.mode, kept.mode);
  const isDeviceKept = isDevice(mode) && mode === kept.mode;
  const uid = (isDeviceKept ? kept.uid : undefined) ?? users.toGuest(status.uid);
  const gid = (isDeviceKept ? kept.gid : undefined) ?? groups.toGuest(status.gid);
  const isSame = uid === status.uid && gid === status.gid && mode === status.mode;
  return isSame ? status : { ...status, uid, gid, mode };
}

/** A change of permissions by a process of the host wins: the kept ones no longer belong to those of the file. */
function shownMode(real: number, kept: number | undefined): number {
  if (kept === undefined) return real;
  return real === (typeOf(kept) | hostBits(kept)) ? kept : real;
}

function setMode(state: State, fd: number, status: FileStatus, mode: number): Done {
  const type = typeOf(status.mode);
  if (type === S_IFLNK) return EOPNOTSUPP;
  if (isDevice(status.mode)) return keepDevice(state, fd, status, { mode: type | mode });
  if (needsKept(type | mode)) {
    const error = refused(state.kept.write(fd, { mode: type | mode }));
    if (error !== 0) return error;
  }
  const set = (): Done => doneOf(libc().fchmodat(-1, state.path.of(fd), hostBits(type | mode), 0));
  // a member of the group may set the bit
  const isSetId = type === S_IFDIR && (mode & S_ISGID) !== 0;
  const error = isSetId ? state.credentials.inGroup(status.gid, set) : set();
  return error === 0 && mayKeep(status.mode) && !needsKept(type | mode) ? state.kept.write(fd, {}) : error;
}

interface Owner {
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

function setOwner(state: State, fd: number, status: FileStatus, { uid, gid }: Owner): Done {
  if (isDevice(status.mode)) {
    return keepDevice(state, fd, status, {
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    });
  }
  const hostUid = uid === undefined ? UNCHANGED_ID : state.maps.users.toHost(uid);
  const hostGid = gid === undefined ? UNCHANGED_ID : state.maps.groups.toHost(gid);
  if (hostUid === undefined || hostGid === undefined) return EOVERFLOW;
  const error = doneOf(libc().fchownat(-1, state.path.of(fd), hostUid, hostGid, 0));
  return error === 0 && mayKeep(status.mode) ? dropPrivileges(state, fd, status) : error;
}

/** Removes kept bits that a change of owner removes; the kernel of the host has removed real ones. */
function dropPrivileges(state: State, fd: number, status: FileStatus): Done {
  const kept = state.kept.read(fd);
  if (typeof kept === 'number') return kept;
  const { mode } = shownBy(state.maps, status, kept);
  const rest = withoutPrivileges(mode);
  return rest === mode ? 0 : setMode(state, fd, status, rest & 0o7777);
}

/** Keeps owner and mode of a device node, which no other user of the host can open from then on. */
function keepDevice(state: State, fd: number, status: FileStatus, change: KeptStatus): Done {
  const kept = state.kept.read(fd);
  if (typeof kept === 'number') return kept;
  const { uid, gid, mode } = shownBy(state.maps, status, kept);
  const error = refused(state.kept.write(fd, { uid, gid, mode, ...change }));
  if (error !== 0) return error;
  const owned = doneOf(libc().fchownat(-1, state.path.of(fd), 0, 0, 0));
  return owned === 0 ? doneOf(libc().fchmodat(-1, state.path.of(fd), 0, 0)) : owned;
}

/** An error for the guest of an attribute that cannot be written. */
function refused(error: Errno): Errno {
  return error === EOPNOTSUPP ? EPERM : error;
}
