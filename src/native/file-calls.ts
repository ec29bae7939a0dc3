import type { LibraryHandle } from 'koffi';
import { SYSCALL } from './syscall-numbers.ts';

/*
 * The calls of the C library that a file server makes, part of `libc()`. All are synchronous, take numbers alone, and return -1 with
 * a reason in errno. `path`, `name`, `value`, `into` and the like are addresses of native memory (`memory.ts`); a path ends with a
 * NUL. Sizes and offsets are bytes, up to 2^53. An id of {@link UNCHANGED_ID} leaves an owner as it is.
 */

/** Declares a function of the C library by its prototype. */
export type Declare = (prototype: string) => ReturnType<LibraryHandle['func']>;

/** A call that can block, and so can also be made on a thread of koffi. */
export interface AsyncCall<A extends readonly unknown[]> {
  (...args: A): number;
  /** Calls `done` on the event loop with the result. */
  readonly async: (...args: [...A, done: (error: unknown, result: unknown) => void]) => void;
}

/** Directory descriptor that stands for the working directory; a path that starts with `/` needs none. */
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

/** An owner that `chown` does not change: (uid_t) -1 */
export const UNCHANGED_ID = 0xffff_ffff;

/** The calls; those on one descriptor first, then those on a name in a directory. */
export interface FileCalls {
  readonly copy_file_range: (
    from: number,
    fromOffset: number,
    to: number,
    ...rest: [toOffset: number, length: number, flags: number]
  ) => number;
  readonly fchmod: (fd: number, mode: number) => number;
  readonly fchown: (fd: number, uid: number, gid: number) => number;
  readonly fdatasync: (fd: number) => number;
  readonly fgetxattr: (fd: number, name: number, value: number, size: number) => number;
  readonly flistxattr: (fd: number, list: number, size: number) => number;
  readonly fremovexattr: (fd: number, name: number) => number;
  readonly fsetxattr: (
    fd: number,
    name: number,
    value: number,
    ...rest: [size: number, flags: number]
  ) => number;
  /** into a `struct statfs` */
  readonly fstatfs: (fd: number, into: number) => number;
  readonly fsync: (fd: number) => number;
  readonly ftruncate: (fd: number, length: number) => number;
  readonly futimens: (fd: number, times: number) => number;
  /** into records of `struct linux_dirent64` */
  readonly getdents64: (fd: number, into: number, size: number) => number;
  readonly open_by_handle_at: (mountFd: number, handle: number, flags: number) => number;
  readonly preadv: (fd: number, vectors: number, count: number, offset: number) => number;
  readonly preadv2: (
    fd: number,
    vectors: number,
    count: number,
    ...rest: [offset: number, flags: number]
  ) => number;
  readonly pwritev: (fd: number, vectors: number, count: number, offset: number) => number;
  readonly pwritev2: (
    fd: number,
    vectors: number,
    count: number,
    ...rest: [offset: number, flags: number]
  ) => number;
  readonly syncfs: (fd: number) => number;

  readonly faccessat: (directory: number, name: number, mask: number, flags: number) => number;
  readonly fchmodat: (directory: number, name: number, mode: number, flags: number) => number;
  readonly fchownat: (
    directory: number,
    name: number,
    uid: number,
    ...rest: [gid: number, flags: number]
  ) => number;
  readonly linkat: (
    fromDirectory: number,
    from: number,
    toDirectory: number,
    ...rest: [to: number, flags: number]
  ) => number;
  readonly mkdirat: (directory: number, name: number, mode: number) => number;
  /** `device` as in `dev_t` of the C library */
  readonly mknodat: (directory: number, name: number, mode: number, device: number) => number;
  /** into a `struct file_handle`, and the id of the mount as an int */
  readonly name_to_handle_at: (
    directory: number,
    name: number,
    handle: number,
    ...rest: [mountId: number, flags: number]
  ) => number;
  readonly openat: (directory: number, name: number, flags: number, mode: number) => number;
  /** `how` is a `struct open_how` of `size` bytes */
  readonly openat2: (directory: number, name: number, how: number, size: number) => number;
  readonly readlinkat: (directory: number, name: number, into: number, size: number) => number;
  readonly renameat2: (
    fromDirectory: number,
    from: number,
    toDirectory: number,
    ...rest: [to: number, flags: number]
  ) => number;
  /** into a `struct statx` (`file-status.ts`) */
  readonly statx: (
    directory: number,
    name: number,
    flags: number,
    ...rest: [mask: number, into: number]
  ) => number;
  readonly symlinkat: (target: number, directory: number, name: number) => number;
  readonly unlinkat: (directory: number, name: number, flags: number) => number;
  readonly utimensat: (directory: number, name: number, times: number, flags: number) => number;

  /** The forms without `l` follow a symlink at the end of the path, such as those of /proc/self/fd. */
  readonly getxattr: (path: number, name: number, value: number, size: number) => number;
  readonly lgetxattr: (path: number, name: number, value: number, size: number) => number;
  readonly listxattr: (path: number, list: number, size: number) => number;
  readonly llistxattr: (path: number, list: number, size: number) => number;
  readonly lremovexattr: (path: number, name: number) => number;
  readonly lsetxattr: (
    path: number,
    name: number,
    value: number,
    ...rest: [size: number, flags: number]
  ) => number;
  readonly removexattr: (path: number, name: number) => number;
  readonly setxattr: (
    path: number,
    name: number,
    value: number,
    ...rest: [size: number, flags: number]
  ) => number;
}

/** Calls that change this thread alone. */
export interface ThreadCalls {
  /** `header` and `data` as in capget(2) */
  readonly capget: (header: number, data: number) => number;
  /** `header` and `data` as in capset(2) */
  readonly capset: (header: number, data: number) => number;
  /** Returns the former id, whether or not it was changed. */
  readonly setfsgid: (gid: number) => number;
  /** Returns the former id, whether or not it was changed. */
  readonly setfsuid: (uid: number) => number;
  /** `groups` is the address of `count` ids of 32 bits */
  readonly setgroups: (count: number, groups: number) => number;
  /** of the thread after `unshare(CLONE_FS)`; of the process otherwise. Returns the former mask. */
  readonly umask: (mask: number) => number;
  readonly unshare: (flags: number) => number;
}

/** prlimit(2) with the new and the old `struct rlimit`, or 0; a `process` of 0 is this one. */
export interface LimitCalls {
  readonly prlimit: (process: number, resource: number, limit: number, former: number) => number;
}

export const declareFileCalls = (call: Declare): FileCalls => ({
  ...declareOnFile(call),
  ...declareOnName(call),
});

const declareOnFile = (call: Declare) => {
  const syscall = call('long syscall(long, long, long, long)');
  return {
    copy_file_range: call('int64_t copy_file_range(int, size_t, int, size_t, size_t, unsigned int)'),
    fchmod: call('int fchmod(int, uint32_t)'),
    fchown: call('int fchown(int, uint32_t, uint32_t)'),
    fdatasync: call('int fdatasync(int)'),
    fgetxattr: call('int64_t fgetxattr(int, size_t, size_t, size_t)'),
    flistxattr: call('int64_t flistxattr(int, size_t, size_t)'),
    fremovexattr: call('int fremovexattr(int, size_t)'),
    fsetxattr: call('int fsetxattr(int, size_t, size_t, size_t, int)'),
    fstatfs: call('int fstatfs(int, size_t)'),
    fsync: call('int fsync(int)'),
    ftruncate: call('int ftruncate(int, int64_t)'),
    futimens: call('int futimens(int, size_t)'),
    getdents64: (fd: number, into: number, size: number): number =>
      syscall(SYSCALL.getdents64, fd, into, size),
    open_by_handle_at: call('int open_by_handle_at(int, size_t, int)'),
    preadv: call('int64_t preadv(int, size_t, int, int64_t)'),
    preadv2: call('int64_t preadv2(int, size_t, int, int64_t, int)'),
    pwritev: call('int64_t pwritev(int, size_t, int, int64_t)'),
    pwritev2: call('int64_t pwritev2(int, size_t, int, int64_t, int)'),
    syncfs: call('int syncfs(int)'),
  };
};

const declareOnName = (call: Declare) => {
  const syscall = call('long syscall(long, long, long, long, long)');
  return {
    faccessat: call('int faccessat(int, size_t, int, int)'),
    fchmodat: call('int fchmodat(int, size_t, uint32_t, int)'),
    fchownat: call('int fchownat(int, size_t, uint32_t, uint32_t, int)'),
    linkat: call('int linkat(int, size_t, int, size_t, int)'),
    mkdirat: call('int mkdirat(int, size_t, uint32_t)'),
    mknodat: call('int mknodat(int, size_t, uint32_t, uint64_t)'),
    name_to_handle_at: call('int name_to_handle_at(int, size_t, size_t, size_t, int)'),
    openat: call('int openat(int, size_t, int, uint32_t)'),
    openat2: (directory: number, name: number, how: number, size: number): number =>
      syscall(SYSCALL.openat2, directory, name, how, size),
    readlinkat: call('int64_t readlinkat(int, size_t, size_t, size_t)'),
    renameat2: call('int renameat2(int, size_t, int, size_t, unsigned int)'),
    statx: call('int statx(int, size_t, int, unsigned int, size_t)'),
    symlinkat: call('int symlinkat(size_t, int, size_t)'),
    unlinkat: call('int unlinkat(int, size_t, int)'),
    utimensat: call('int utimensat(int, size_t, size_t, int)'),
    getxattr: call('int64_t getxattr(size_t, size_t, size_t, size_t)'),
    lgetxattr: call('int64_t lgetxattr(size_t, size_t, size_t, size_t)'),
    listxattr: call('int64_t listxattr(size_t, size_t, size_t)'),
    llistxattr: call('int64_t llistxattr(size_t, size_t, size_t)'),
    lremovexattr: call('int lremovexattr(size_t, size_t)'),
    lsetxattr: call('int lsetxattr(size_t, size_t, size_t, size_t, int)'),
    removexattr: call('int removexattr(size_t, size_t)'),
    setxattr: call('int setxattr(size_t, size_t, size_t, size_t, int)'),
  };
};

export const declareThreadCalls = (call: Declare): ThreadCalls => {
  const [one, two] = [call('long syscall(long, long)'), call('long syscall(long, long, long)')];
  return {
    capget: (header, data) => two(SYSCALL.capget, header, data),
    capset: (header, data) => two(SYSCALL.capset, header, data),
    setfsgid: (gid) => one(SYSCALL.setfsgid, gid),
    setfsuid: (uid) => one(SYSCALL.setfsuid, uid),
    setgroups: (count, groups) => two(SYSCALL.setgroups, count, groups),
    umask: call('uint32_t umask(uint32_t)'),
    unshare: call('int unshare(int)'),
  };
};

export const declareLimitCalls = (call: Declare): LimitCalls => ({
  prlimit: call('int prlimit(int, int, size_t, size_t)'),
});
