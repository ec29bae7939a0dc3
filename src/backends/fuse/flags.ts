/** Flags of INIT, bits 0 to 31 (`FUSE_ASYNC_READ` and so on). */
export const InitFlag = {
  AsyncRead: 1 << 0,
  AtomicTruncate: 1 << 3,
  BigWrites: 1 << 5,
  AutoInvalidateData: 1 << 12,
  DoReaddirplus: 1 << 13,
  ReaddirplusAuto: 1 << 14,
  AsyncDirectIo: 1 << 15,
  WritebackCache: 1 << 16,
  ParallelDirectoryOperations: 1 << 18,
  PosixAcl: 1 << 20,
  MaxPages: 1 << 22,
  CacheSymlinks: 1 << 23,
  HandleKillPrivilegesV2: 1 << 28,
  SetxattrExtended: 1 << 29,
  InitExtended: 1 << 30,
} as const;

/** Flags of INIT, bits 32 to 63, shifted down by 32. */
export const InitFlag2 = {
  DirectIoAllowMmap: 1 << 4,
} as const;

/** Flags of the reply to OPEN, OPENDIR and CREATE (`FOPEN_*`). */
export const OpenReplyFlag = { DirectIo: 1 << 0, KeepCache: 1 << 1 } as const;

/** `fuse_open_in.open_flags`: the set-user-ID and set-group-ID bits are removed. */
export const OPEN_KILL_PRIVILEGES = 1 << 0;

/** `fuse_getattr_in.getattr_flags`: the handle is valid. */
export const GETATTR_HANDLE = 1 << 0;

/** Flags of `fuse_setattr_in.valid`: members that are set. */
export const SetattrFlag = {
  Mode: 1 << 0,
  Uid: 1 << 1,
  Gid: 1 << 2,
  Size: 1 << 3,
  Accessed: 1 << 4,
  Modified: 1 << 5,
  Handle: 1 << 6,
  AccessedNow: 1 << 7,
  ModifiedNow: 1 << 8,
  KillPrivileges: 1 << 11,
} as const;

/** Flags of `fuse_write_in.write_flags`. */
export const WriteFlag = { Cache: 1 << 0, KillPrivileges: 1 << 2 } as const;

/** `fuse_fsync_in.fsync_flags`: data only. */
export const FSYNC_DATA_ONLY = 1 << 0;

/** `fuse_setxattr_in.setxattr_flags`: the set-group-ID bit is removed. */
export const SETXATTR_KILL_GROUP = 1 << 0;
