import type { Parts } from '../vhost-user/descriptor-chain.ts';

/*
 * The boundary between the FUSE protocol (this folder) and the file systems that it serves: a directory of the host
 * (`backends/fs/`) or a program (`sdk/`). The protocol decodes a request, checks its lengths and names, calls one method, and encodes
 * the result. A file system never sees bytes of the wire.
 *
 * A method fails by returning an {@link Errno}; an exception is a fault of the file system, which the guest sees as EIO. A method of
 * a program may return a promise; the file system of a directory never does, so that its requests cost no microtask.
 */

/** Number of an error, as Linux numbers them: positive, for example 2 (ENOENT). */
export type Errno = number;

/** Result of a method: a value that is no number, or why there is none. */
export type Result<T extends object> = T | Errno;

/** Result of a method without a value: 0, or why it failed. */
export type Done = Errno;

/**
 * A result now, or later. A thread that blocks in epoll_wait runs no callbacks of promises: a file system in such a thread returns an
 * object whose `then` calls back when the thread receives the result.
 */
export type Answer<T> = T | PromiseLike<T>;

/** Number of an inode on the wire. The root is {@link ROOT}; the file system chooses the others. At most 2^53 - 1. */
export type NodeId = number;

export const ROOT: NodeId = 1;

/** Number of an open file or directory. The file system chooses it. At most 2^53 - 1. */
export type Handle = number;

/**
 * Name of an entry of a directory as the guest sent it: 1 to 255 bytes without NUL and `/`, neither `.` nor `..`. Bytes, not text:
 * Linux knows no encoding. Valid until the method returns, or its promise settles.
 */
export interface Name {
  /** the bytes, without the NUL at the end */
  readonly bytes: Uint8Array;
  /** address of the same bytes in memory of this process, with a NUL at the end, for a system call */
  readonly address: number;
}

/** The process of the guest that a request is made for; all 0 where the kernel of the guest sends none. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** A point in time. */
export interface Timestamp {
  /** seconds since 1970, negative before */
  readonly seconds: number;
  /** 0 to 999,999,999 */
  readonly nanoseconds: number;
}

/** Attributes of an inode (`struct fuse_attr`). */
export interface Attributes {
  /** number that `stat` shows in the guest */
  readonly inode: bigint;
  /** type and permissions, as in `st_mode` */
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  /** device number of a device node, as Linux encodes it in 32 bits */
  readonly device: number;
  /** bytes */
  readonly size: number;
  /** blocks of 512 bytes */
  readonly blocks: number;
  /** bytes */
  readonly blockSize: number;
  readonly accessed: Timestamp;
  readonly modified: Timestamp;
  readonly changed: Timestamp;
}

/** An inode that the guest knows from now on, until a FORGET for each time that it got it. */
export interface Entry {
  readonly node: NodeId;
  readonly attributes: Attributes;
}

/** An open file or directory. */
export interface Opened {
  readonly handle: Handle;
  /** the guest keeps cached pages of earlier opens (FOPEN_KEEP_CACHE); default: false */
  readonly keepsCache?: boolean;
  /** the guest caches nothing of the file (FOPEN_DIRECT_IO); default: false */
  readonly isDirect?: boolean;
}

/** A change of attributes; a member that is left out does not change (`struct fuse_setattr_in`). */
export interface AttributeChange {
  /** the open file through which the guest changes them */
  readonly handle?: Handle;
  /** permission bits */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** bytes */
  readonly size?: number;
  readonly accessed?: Timestamp | 'now';
  readonly modified?: Timestamp | 'now';
  /** the set-user-ID and set-group-ID bits are removed (FATTR_KILL_SUIDGID) */
  readonly killsPrivileges?: boolean;
}

/** A place for an entry: a directory and a name in it. */
export interface Place {
  readonly parent: NodeId;
  readonly name: Name;
}

/** A new entry. */
export interface Creation extends Place {
  readonly caller: Caller;
  /** type and permissions, the umask of the guest's process already removed */
  readonly mode: number;
}

/** Part of an open file, in bytes. */
export interface Range {
  readonly node: NodeId;
  readonly handle: Handle;
  readonly offset: number;
  readonly length: number;
}

/** An entry of a directory that is read. */
export interface DirectoryEntry {
  /** without NUL and `/` */
  readonly name: Uint8Array;
  readonly inode: bigint;
  /** type as in the bits 12 to 15 of `st_mode`; 0: unknown */
  readonly type: number;
  /** offset at which reading continues after this entry */
  readonly next: bigint;
}

/** Takes the entries of a directory, in order. */
export interface DirectorySink {
  /** each entry needs its inode too (READDIRPLUS); `.` and `..` never do */
  readonly plus: boolean;
  /** Returns whether an entry with a name of so many bytes fits; one that does not must not be added, nor looked up. */
  readonly fits: (nameBytes: number) => boolean;
  /** Adds an entry, with its inode where `plus` is set and the inode could be looked up. */
  readonly add: (entry: DirectoryEntry, found?: Entry) => void;
}

/** Numbers that `statfs` shows (`struct fuse_kstatfs`). Counts of blocks are in `fragmentSize`. */
export interface FileSystemStatus {
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  /** bytes */
  readonly blockSize: number;
  readonly nameLength: number;
  /** bytes */
  readonly fragmentSize: number;
}

/** An extended attribute. */
export interface ExtendedAttribute {
  readonly node: NodeId;
  /** for example `user.comment`, 1 to 255 bytes without NUL */
  readonly name: Name;
}

/** A file system that is served. All methods are called in the thread of the back-end, one at a time. */
export interface FileSystem {
  readonly lookup: (caller: Caller, place: Place) => Answer<Result<Entry>>;
  /** FORGET: the guest no longer holds `count` of its references to an inode. Unknown inodes are ignored. */
  readonly forget: (node: NodeId, count: number) => void;
  readonly getattr: (node: NodeId, handle: Handle | undefined) => Answer<Result<Attributes>>;
  readonly setattr: (caller: Caller, node: NodeId, change: AttributeChange) => Answer<Result<Attributes>>;
  readonly readlink: (node: NodeId) => Answer<Result<Uint8Array>>;
  /** `target` is 1 to 4095 bytes without NUL, whatever else they are */
  readonly symlink: (creation: Creation, target: Name) => Answer<Result<Entry>>;
  /** `device` is the number of a device node, as Linux encodes it in 32 bits */
  readonly mknod: (creation: Creation, device: number) => Answer<Result<Entry>>;
  readonly mkdir: (creation: Creation) => Answer<Result<Entry>>;
  readonly unlink: (caller: Caller, place: Place) => Answer<Done>;
  readonly rmdir: (caller: Caller, place: Place) => Answer<Done>;
  /** `flags` as in renameat2 */
  readonly rename: (caller: Caller, move: { from: Place; to: Place; flags: number }) => Answer<Done>;
  readonly link: (caller: Caller, node: NodeId, to: Place) => Answer<Result<Entry>>;
  /** `flags` as in open(2), without those that create */
  readonly open: (caller: Caller, node: NodeId, flags: number) => Answer<Result<Opened>>;
  readonly create: (creation: Creation, flags: number) => Answer<Result<Entry & Opened>>;
  /**
   * Fills the buffers from their start; they hold `range.length` bytes. Returns the number of bytes, fewer at the end of the file only,
   * or -Errno. While the device is stopped the buffers of an unfinished read are empty; it is repeated when the device continues.
   */
  readonly read: (range: Range, into: Parts) => Answer<number>;
  /** Takes `range.length` bytes, which the buffers hold until the method returns. Returns the number of bytes, or -Errno. */
  readonly write: (caller: Caller, range: Range & WriteFlags, from: Parts) => Answer<number>;
  readonly release: (node: NodeId, handle: Handle) => void;
  readonly fsync: (node: NodeId, handle: Handle, dataOnly: boolean) => Answer<Done>;
  readonly opendir: (caller: Caller, node: NodeId) => Answer<Result<Opened>>;
  /**
   * Reads on from `offset`: 0 or the `next` of an entry. Where it fails after some entries, the guest gets these, and asks again for the
   * next ones.
   */
  readonly readdir: (
    caller: Caller,
    from: { node: NodeId; handle: Handle; offset: bigint },
    sink: DirectorySink,
  ) => Answer<Done>;
  readonly releasedir: (node: NodeId, handle: Handle) => void;
  readonly fsyncdir: (node: NodeId, handle: Handle, dataOnly: boolean) => Answer<Done>;
  readonly statfs: (node: NodeId) => Answer<Result<FileSystemStatus>>;
  /** `mask` as in access(2) */
  readonly access: (caller: Caller, node: NodeId, mask: number) => Answer<Done>;
  readonly getxattr: (attribute: ExtendedAttribute) => Answer<Result<Uint8Array>>;
  /** Returns names, each followed by a NUL. */
  readonly listxattr: (node: NodeId) => Answer<Result<Uint8Array>>;
  /** `flags` as in setxattr(2) */
  readonly setxattr: (
    caller: Caller,
    attribute: ExtendedAttribute,
    value: { bytes: Uint8Array; flags: number; killsPrivileges: boolean },
  ) => Answer<Done>;
  readonly removexattr: (caller: Caller, attribute: ExtendedAttribute) => Answer<Done>;
  /** Returns the offset in bytes, or -Errno; `whence` is 3 (SEEK_DATA) or 4 (SEEK_HOLE). */
  readonly lseek: (node: NodeId, handle: Handle, to: { offset: number; whence: number }) => Answer<number>;
  /** `mode` as in fallocate(2) */
  readonly fallocate: (range: Range, mode: number) => Answer<Done>;
  /** Returns the number of bytes, or -Errno. */
  readonly copyFileRange: (from: Range, to: Omit<Range, 'length'>) => Answer<number>;
  /** Writes everything to the disk (SYNCFS). */
  readonly syncfs: (node: NodeId) => Answer<Done>;
  /** The guest has unmounted, was reset or has ended: drops all inodes but the root, closes all handles. */
  readonly reset: () => void;
  /** Returns all inodes and handles that the guest knows, in a form with a version. */
  readonly save: () => Uint8Array;
  /** Continues where `save` was called, perhaps in another process. Throws if the bytes are not valid; then nothing has changed. */
  readonly load: (state: Uint8Array) => void;
}

/** Effects of a write besides the written bytes. */
export interface WriteFlags {
  /** the data is from the guest's page cache: the handle may be any of the file's (FUSE_WRITE_CACHE) */
  readonly isFromCache: boolean;
  /** the set-user-ID and set-group-ID bits are removed (FUSE_WRITE_KILL_SUIDGID) */
  readonly killsPrivileges: boolean;
}
