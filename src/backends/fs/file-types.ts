/* Bits of `st_mode`. */

export const S_IFMT = 0o170_000;
export const S_IFSOCK = 0o140_000;
export const S_IFLNK = 0o120_000;
export const S_IFREG = 0o100_000;
export const S_IFBLK = 0o060_000;
export const S_IFDIR = 0o040_000;
export const S_IFCHR = 0o020_000;
export const S_IFIFO = 0o010_000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IXGRP = 0o010;
/** set-user-ID, set-group-ID, sticky */
export const SPECIAL_BITS = 0o7000;
export const PERMISSIONS = 0o777;

/** Returns the type of a file. */
export function typeOf(mode: number): number {
  return mode & S_IFMT;
}

/** Returns whether a file is a device node. */
export function isDevice(mode: number): boolean {
  return typeOf(mode) === S_IFCHR || typeOf(mode) === S_IFBLK;
}

/** Returns a mode without the bits that a change of owner, or a write by an ordinary process, removes from a file. */
export function withoutPrivileges(mode: number): number {
  if (typeOf(mode) === S_IFDIR) return mode;
  // without S_IXGRP, S_ISGID stands for mandatory locks
  return mode & ~(S_ISUID | ((mode & S_IXGRP) === 0 ? 0 : S_ISGID));
}
