/*
 * A file system that a program serves to a guest: `provider.ts` is the interface that the program implements, `operations.ts` the
 * requests that reach it. `service.ts` listens on a UNIX socket with a thread (`worker.ts`), which serves virtio-fs with the code of
 * `../fuse/` and `../vhost-user/`. Its file system (`remote-file-system.ts`) sends each request as a message (`thread-messages.ts`) to
 * the program's thread, where `program-file-system.ts` calls the provider. `memory-tree.ts`, `archive/` and `overlay/` are providers.
 *
 * States of a share: listening -> connected to a front-end -> listening again, until it is closed. A closed share stays connected, and
 * each request fails with ENOTCONN, until the front-end disconnects.
 *
 * Invariants: a method of a provider that throws, or does not settle, fails one request and nothing else. The number of calls at a
 * time is bounded. The thread answers vhost-user requests whatever the program does, as QEMU blocks until they are answered.
 */

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>;

/** Name of an entry, or target of a symbolic link: text, or bytes that are not valid UTF-8. */
export type FsName = string | Uint8Array;

/** A point in time: a date, or nanoseconds since 1970. */
export type FsTime = Date | bigint;

export type FsType = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'character' | 'block';

/** Attributes of a node. */
export interface FsAttributes {
  readonly type: FsType;
  /** `bytes`; a file without a size is read until `read` returns no bytes, as in /proc; `sendfile` in the guest sees an empty file */
  readonly size?: number | undefined;
  /** Permission bits. Default: 0o755 of a directory, 0o777 of a symbolic link, else 0o644 */
  readonly mode?: number | undefined;
  /** Default: 0 */
  readonly uid?: number | undefined;
  /** Default: 0 */
  readonly gid?: number | undefined;
  /** Number of names. Default: 1 */
  readonly links?: number | undefined;
  /** Number that `stat` shows. Default: a number of this node, the same for as long as the provider exists */
  readonly inode?: bigint | undefined;
  /** Device number of a device node, as Linux encodes it in 32 bits. Default: 0 */
  readonly device?: number | undefined;
  /** Disk space in `bytes`. Default: the size */
  readonly allocated?: number | undefined;
  /** Time of the last write. Default: 1970 */
  readonly modified?: FsTime | undefined;
  /** Default: `modified` */
  readonly accessed?: FsTime | undefined;
  /** Time of the last change of content or attributes. Default: `modified` */
  readonly changed?: FsTime | undefined;
}

/** A change of attributes. A member that is left out does not change. */
export interface FsAttributeChange {
  /** `bytes` */
  readonly size?: number;
  /** permission bits */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** nanoseconds since 1970 */
  readonly modified?: bigint;
  /** nanoseconds since 1970 */
  readonly accessed?: bigint;
}

/** An entry of a directory. */
export interface FsEntry<Node> {
  /** 1 to 255 bytes without `/` and NUL; neither `.` nor `..` */
  readonly name: FsName;
  /** Default: that of the node, or unknown */
  readonly type?: FsType | undefined;
  /** saves a `lookup` */
  readonly node?: Node | undefined;
}

/** Part of a file, in `bytes`. */
export interface FsRange {
  readonly offset: number;
  readonly length: number;
}

/** A place for an entry. */
export interface FsPlace<Directory> {
  readonly directory: Directory;
  readonly name: FsName;
}

/** Accesses for which a file is opened. */
export interface FsOpenMode {
  readonly read: boolean;
  readonly write: boolean;
}

/** Space of a file system, as `df` shows it. */
export interface FsSpace {
  /** `bytes` */
  readonly size: number;
  /** `bytes` */
  readonly free: number;
  readonly files?: number;
  readonly filesFree?: number;
}

/** Circumstances of a request. */
export interface FsContext {
  /** Aborts at the time limit, when the share is closed, and when the guest is reset: nothing waits for the result any more. */
  readonly signal: AbortSignal;
  /** user of the guest's process; 0 where the guest's kernel sends none */
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/**
 * A file system. A node is any value that identifies a directory or a file: an object, or a string or number that is unique. The same
 * node must be the same value for as long as it exists, also under another name.
 *
 * A method fails by throwing an error with a `code` as Node's errors have it, e.g. `new FsError('ENOENT')`; any other error is EIO in
 * the guest. Without the methods that write, the file system is read-only (EROFS); if some are missing, these fail with EPERM.
 * Methods are called concurrently. The guest's kernel checks permissions by the attributes, and caches attributes for a second.
 *
 * ```ts
 * const files = new Map([['hello.txt', { text: 'Hello\n' }]]);
 * const provider: FsProvider<typeof files, { text: string }> = {
 *   root: files,
 *   lookup: (directory, name) => (typeof name === 'string' ? directory.get(name) : undefined),
 *   getattr: (node) => ('text' in node ? { type: 'file', size: Buffer.byteLength(node.text) } : { type: 'directory' }),
 *   readdir: (directory) => [...directory].map(([name, node]) => ({ name, node })),
 *   read: (file, { offset, length }) => Buffer.from(file.text).subarray(offset, offset + length),
 * };
 * ```
 */
export interface FsProvider<Directory = unknown, File = Directory> {
  readonly root: Directory;
  /** Returns the node of a name; undefined: there is none (ENOENT). */
  lookup(directory: Directory, name: FsName, context: FsContext): Awaitable<Directory | File | undefined>;
  getattr(node: Directory | File, context: FsContext): Awaitable<FsAttributes>;
  /** Returns all entries of a directory, without `.` and `..`. */
  readdir(
    directory: Directory,
    context: FsContext,
  ): Awaitable<Iterable<FsEntry<Directory | File>> | AsyncIterable<FsEntry<Directory | File>>>;
  /** Returns a part of a file; fewer bytes at the end of the file only. */
  read(file: File, range: FsRange, context: FsContext): Awaitable<Uint8Array>;
  /** Returns the target of a symbolic link. */
  readlink?(link: File, context: FsContext): Awaitable<FsName>;
  /** Called for each open of a file, before `read` and `write`. */
  open?(file: File, mode: FsOpenMode, context: FsContext): Awaitable<void>;
  /** Called once for each successful `open` and `create`, with the same mode. */
  close?(file: File, mode: FsOpenMode): Awaitable<void>;
  /** The guest holds no reference to a node any more; `lookup` may return another value for it from now on. */
  forget?(node: Directory | File): void;
  statfs?(context: FsContext): Awaitable<FsSpace>;
  /** Writes all of `data`. */
  write?(file: File, data: Uint8Array, offset: number, context: FsContext): Awaitable<void>;
  /** Creates a file and opens it for reading and writing. `mode` has permission bits. The guest has checked that the name is free. */
  create?(directory: Directory, name: FsName, mode: number, context: FsContext): Awaitable<File>;
  mkdir?(directory: Directory, name: FsName, mode: number, context: FsContext): Awaitable<Directory>;
  symlink?(directory: Directory, name: FsName, target: FsName, context: FsContext): Awaitable<File>;
  /** Creates a FIFO, a socket or a device node. */
  mknod?(place: FsPlace<Directory>, node: FsNewNode, context: FsContext): Awaitable<File>;
  /** Adds a name to a file. */
  link?(file: File, directory: Directory, name: FsName, context: FsContext): Awaitable<void>;
  /** Removes a name. The file exists for as long as it is open. */
  unlink?(directory: Directory, name: FsName, context: FsContext): Awaitable<void>;
  /** Removes an empty directory; of any other it fails with ENOTEMPTY. */
  rmdir?(directory: Directory, name: FsName, context: FsContext): Awaitable<void>;
  /** Moves an entry, and replaces the one at the new place: a file, or an empty directory. */
  rename?(from: FsPlace<Directory>, to: FsPlace<Directory>, context: FsContext): Awaitable<void>;
  /** Applies all members of a change, or none. A change of `size` truncates or extends a file. */
  setattr?(node: Directory | File, change: FsAttributeChange, context: FsContext): Awaitable<void>;
  /** Writes a file to stable storage (`fsync`). Default: nothing to do */
  sync?(node: Directory | File, context: FsContext): Awaitable<void>;
}

/** A node that `mknod` creates. */
export interface FsNewNode {
  readonly type: Exclude<FsType, 'directory' | 'symlink' | 'file'>;
  /** permission bits */
  readonly mode: number;
  /** device number, as Linux encodes it in 32 bits */
  readonly device: number;
}
