import type { FileStatus } from '../../native/file-status.ts';
import type { Attributes, Caller, Done, Errno } from '../fuse/file-system.ts';
import type { KeptAttribute } from './kept-attribute.ts';
import type { KeptStatus } from './kept-status.ts';

/*
 * Owners and modes: how the host keeps those that the guest sees.
 *
 * - `real-ownership.ts` as root: they are the host's, through the maps of `id-map.ts`. Extended
 *   attributes keep those that the host must not honour:
 *   set-user-ID and set-group-ID bits of files, and access to device nodes.
 * - `mapped-ownership.ts` as an ordinary user: all files belong to that user; what differs is kept in extended attributes.
 * - `kept-status.ts` is the text of these attributes, `kept-attribute.ts` reads and writes them, `credentials.ts` is the identity of
 *   the thread, `guest-attributes.ts` the extended attributes that a guest sees.
 *
 * A descriptor may be an O_PATH one.
 */

/** Reads the status that a file keeps, from the place where the file is. */
export type ReadsKept = (kept: KeptAttribute) => KeptStatus | Errno;

/** An entry that is made. */
export interface Making {
  readonly caller: Caller;
  /** type and permissions, as in `st_mode` */
  readonly mode: number;
}

/** An entry that was made. */
export interface Made extends Making {
  /** descriptor of its directory */
  readonly parent: number;
  /** number of a device node; 0 for other files */
  readonly device: number;
}

export interface Ownership {
  /**
   * Calls `make` with the mode of the host, so that the file which it makes belongs to a process of the guest. `make` returns
   * a number, or -errno.
   * @returns its result; -EOVERFLOW where the guest's ids have no counterpart
   */
  readonly make: (making: Making, make: (hostMode: number) => number) => number;
  /** Returns whether {@link Ownership.adopt} has to be called for a file that the guest asked for with a mode. */
  readonly adopts: (mode: number) => boolean;
  /** Keeps owner and mode of a file that `make` has made. The caller removes the file where that fails. */
  readonly adopt: (fd: number, made: Made) => Done;
  /** Returns attributes as the guest sees them. */
  readonly attributes: (status: FileStatus, read: ReadsKept) => Attributes | Errno;
  /** Sets permission bits. */
  readonly setMode: (fd: number, mode: number) => Done;
  readonly setOwner: (fd: number, uid: number | undefined, gid: number | undefined) => Done;
  /** true if a regular file of the host may be of another type in the guest */
  readonly hidesTypes: boolean;
  /** Unmaps memory; no other method may be called after it. */
  readonly free: () => void;
}
