// A file system for tests of the protocol: every method fails with ENOTSUP, unless a test replaces it.
import { constants } from 'node:os';
import type { Attributes, FileSystem } from './file-system.ts';

const { ENOTSUP } = constants.errno;

export function filesWith(methods: Partial<FileSystem>): FileSystem {
  const refuse = (): number => ENOTSUP;
  const refuseCount = (): number => -ENOTSUP;
  const ignore = (): void => undefined;
  return {
    lookup: refuse,
    forget: ignore,
    getattr: refuse,
    setattr: refuse,
    readlink: refuse,
    symlink: refuse,
    mknod: refuse,
    mkdir: refuse,
    unlink: refuse,
    rmdir: refuse,
    rename: refuse,
    link: refuse,
    open: refuse,
    create: refuse,
    read: refuseCount,
    write: refuseCount,
    release: ignore,
    fsync: refuse,
    opendir: refuse,
    readdir: refuse,
    releasedir: ignore,
    fsyncdir: refuse,
    statfs: refuse,
    access: refuse,
    getxattr: refuse,
    listxattr: refuse,
    setxattr: refuse,
    removexattr: refuse,
    lseek: refuseCount,
    fallocate: refuse,
    copyFileRange: refuseCount,
    syncfs: refuse,
    reset: ignore,
    save: () => new Uint8Array(),
    load: ignore,
    ...methods,
  };
}

export const ATTRIBUTES: Attributes = {
  inode: 0x1122_3344_5566_7788n,
  mode: 0o100_644,
  links: 2,
  uid: 1000,
  gid: 1001,
  device: 0x0801,
  size: 2 ** 40 + 3,
  blocks: 9,
  blockSize: 4096,
  accessed: { seconds: -2, nanoseconds: 5 },
  modified: { seconds: 2 ** 33, nanoseconds: 999_999_999 },
  changed: { seconds: 1, nanoseconds: 0 },
};
