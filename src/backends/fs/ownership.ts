import { UNCHANGED_ID } from '../../native/file-calls.ts';
import type { FileStatus } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import type { Attributes, Caller, Done, Errno } from '../fuse/file-system.ts';
import type { DescriptorPath } from './descriptor-path.ts';
import { doneOf } from './errors.ts';

/** Calls `use` with a descriptor of the file of which attributes are, an O_PATH one perhaps. */
export type OpensFile = <T>(use: (fd: number) => T | Errno) => T | Errno;

/**
 * Owners and modes: how those that the guest sees are kept on the host. A descriptor may be an O_PATH one, so calls on it go by
 * its {@link DescriptorPath}.
 */
export interface Ownership {
  /** Runs calls that create a file, so that it belongs to a process of the guest. */
  readonly asCaller: <T>(caller: Caller, run: () => T) => T;
  /** Returns the mode with which the host creates a file, from that which the guest asks for. */
  readonly hostMode: (mode: number) => number;
  /** Sets owner and mode of a file that was created by `asCaller` and `hostMode`, where these do not. */
  readonly created: (fd: number, caller: Caller, mode: number) => Done;
  /** Returns attributes as the guest sees them. */
  readonly attributes: (status: FileStatus, open: OpensFile) => Attributes | Errno;
  readonly setMode: (fd: number, mode: number) => Done;
  readonly setOwner: (fd: number, uid: number | undefined, gid: number | undefined) => Done;
  /** `created` has something to do */
  readonly isKept: boolean;
}

/** Owners and modes of the guest are those of the host. */
export function plainOwnership(path: DescriptorPath): Ownership {
  return {
    isKept: false,
    asCaller: (_caller, run) => run(),
    hostMode: (mode) => mode,
    created: () => 0,
    attributes: (status) => status,
    setMode: (fd, mode) => doneOf(libc().fchmodat(-1, path.of(fd), mode & 0o7777, 0)),
    setOwner: (fd, uid, gid) =>
      doneOf(libc().fchownat(-1, path.of(fd), uid ?? UNCHANGED_ID, gid ?? UNCHANGED_ID, 0)),
  };
}
