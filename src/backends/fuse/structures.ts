/*
 * Layouts of the structures of linux/fuse.h: `bytes` is the size, each other member an offset. All numbers are little-endian; members
 * that are not used here are left out. A structure of a request follows `InHeader`, one of a reply `OutHeader`.
 */

/** `struct fuse_in_header` */
export const InHeader = {
  bytes: 40,
  length: 0,
  opcode: 4,
  unique: 8,
  node: 16,
  uid: 24,
  gid: 28,
  pid: 32,
} as const;

/** `struct fuse_out_header` */
export const OutHeader = { bytes: 16, length: 0, error: 4, unique: 8 } as const;

/** `struct fuse_attr` */
export const Attr = {
  bytes: 88,
  inode: 0,
  size: 8,
  blocks: 16,
  accessed: 24,
  modified: 32,
  changed: 40,
  accessedNanoseconds: 48,
  modifiedNanoseconds: 52,
  changedNanoseconds: 56,
  mode: 60,
  links: 64,
  uid: 68,
  gid: 72,
  device: 76,
  blockSize: 80,
  flags: 84,
} as const;

/** `struct fuse_entry_out` */
export const EntryOut = {
  bytes: 128,
  node: 0,
  generation: 8,
  entryValid: 16,
  attrValid: 24,
  entryValidNanoseconds: 32,
  attrValidNanoseconds: 36,
  attr: 40,
} as const;

/** `struct fuse_attr_out` */
export const AttrOut = { bytes: 104, attrValid: 0, attrValidNanoseconds: 8, attr: 16 } as const;

/** `struct fuse_open_out` */
export const OpenOut = { bytes: 16, handle: 0, flags: 8 } as const;

/** `struct fuse_write_out` */
export const WriteOut = { bytes: 8, size: 0 } as const;

/** `struct fuse_getxattr_out` */
export const GetxattrOut = { bytes: 8, size: 0 } as const;

/** `struct fuse_lseek_out` */
export const LseekOut = { bytes: 8, offset: 0 } as const;

/** `struct fuse_statfs_out` */
export const StatfsOut = {
  bytes: 80,
  blocks: 0,
  blocksFree: 8,
  blocksAvailable: 16,
  files: 24,
  filesFree: 32,
  blockSize: 40,
  nameLength: 44,
  fragmentSize: 48,
} as const;

/** `struct fuse_dirent`; the name follows, up to a multiple of 8 bytes */
export const Dirent = { bytes: 24, inode: 0, offset: 8, nameLength: 16, type: 20 } as const;

/** `struct fuse_init_in`; kernels without INIT_EXT send the first 16 bytes only */
export const InitIn = {
  bytes: 64,
  shortBytes: 16,
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  flags2: 16,
} as const;

/** `struct fuse_init_out` */
export const InitOut = {
  bytes: 64,
  major: 0,
  minor: 4,
  maxReadahead: 8,
  flags: 12,
  maxBackground: 16,
  congestionThreshold: 18,
  maxWrite: 20,
  timeGranularity: 24,
  maxPages: 28,
  flags2: 32,
} as const;

/** `struct fuse_forget_in` */
export const ForgetIn = { bytes: 8, count: 0 } as const;

/** `struct fuse_batch_forget_in`; `ForgetOne` follows `count` times */
export const BatchForgetIn = { bytes: 8, count: 0 } as const;

/** `struct fuse_forget_one` */
export const ForgetOne = { bytes: 16, node: 0, count: 8 } as const;

/** `struct fuse_getattr_in` */
export const GetattrIn = { bytes: 16, flags: 0, handle: 8 } as const;

/** `struct fuse_setattr_in` */
export const SetattrIn = {
  bytes: 88,
  valid: 0,
  handle: 8,
  size: 16,
  accessed: 32,
  modified: 40,
  accessedNanoseconds: 56,
  modifiedNanoseconds: 60,
  mode: 68,
  uid: 76,
  gid: 80,
} as const;

/** `struct fuse_mknod_in`; a name follows */
export const MknodIn = { bytes: 16, mode: 0, device: 4 } as const;

/** `struct fuse_mkdir_in`; a name follows */
export const MkdirIn = { bytes: 8, mode: 0 } as const;

/** `struct fuse_rename_in`; two names follow */
export const RenameIn = { bytes: 8, newParent: 0 } as const;

/** `struct fuse_rename2_in`; two names follow */
export const Rename2In = { bytes: 16, newParent: 0, flags: 8 } as const;

/** `struct fuse_link_in`; a name follows */
export const LinkIn = { bytes: 8, node: 0 } as const;

/** `struct fuse_open_in` */
export const OpenIn = { bytes: 8, flags: 0, openFlags: 4 } as const;

/** `struct fuse_create_in`; a name follows */
export const CreateIn = { bytes: 16, flags: 0, mode: 4 } as const;

/** `struct fuse_read_in`, also of READDIR */
export const ReadIn = { bytes: 40, handle: 0, offset: 8, size: 16 } as const;

/** `struct fuse_write_in`; the data follows */
export const WriteIn = { bytes: 40, handle: 0, offset: 8, size: 16, flags: 20 } as const;

/** `struct fuse_release_in` */
export const ReleaseIn = { bytes: 24, handle: 0 } as const;

/** `struct fuse_fsync_in` */
export const FsyncIn = { bytes: 16, handle: 0, flags: 8 } as const;

/** `struct fuse_setxattr_in`; a name and the value follow. Without SETXATTR_EXT it ends after `flags`. */
export const SetxattrIn = { bytes: 16, shortBytes: 8, size: 0, flags: 4, extendedFlags: 8 } as const;

/** `struct fuse_getxattr_in`, also of LISTXATTR; for GETXATTR a name follows */
export const GetxattrIn = { bytes: 8, size: 0 } as const;

/** `struct fuse_access_in` */
export const AccessIn = { bytes: 8, mask: 0 } as const;

/** `struct fuse_fallocate_in` */
export const FallocateIn = { bytes: 32, handle: 0, offset: 8, length: 16, mode: 24 } as const;

/** `struct fuse_lseek_in` */
export const LseekIn = { bytes: 24, handle: 0, offset: 8, whence: 16 } as const;

/** `struct fuse_copy_file_range_in` */
export const CopyFileRangeIn = {
  bytes: 56,
  fromHandle: 0,
  fromOffset: 8,
  toNode: 16,
  toHandle: 24,
  toOffset: 32,
  length: 40,
  flags: 48,
} as const;

/** `struct fuse_syncfs_in` */
export const SyncfsIn = { bytes: 8 } as const;
