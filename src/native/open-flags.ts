import { constants } from 'node:fs';

/*
 * Flags of open(2). Some differ between architectures (O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_LARGEFILE); Node's constants are those
 * of this machine. A guest has the architecture of its host, as QEMU runs it with KVM or emulates the same one, so the flags of
 * a guest on the wire have this machine's values and need no translation.
 */

export const { O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL, O_NOATIME, O_NOCTTY } = constants;
export const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } = constants;
export const O_ACCMODE = 3;
export const O_CLOEXEC = 0o2_000_000;
export const O_PATH = 0o10_000_000;

/** Flags of a guest that apply to the file on the host; all others concern the guest's own kernel, or would leave the directory. */
const FROM_GUEST = O_ACCMODE | O_APPEND | O_DSYNC | O_SYNC | O_TRUNC;

/**
 * Returns the flags with which the host opens a file that a guest opens with `flags`.
 *
 * - O_DIRECT is left out: the guest bypasses its own page cache; bypassing the host's too makes a disk three to four times slower
 *   and fails for buffers that are not aligned.
 * - O_NOATIME is left out, as the host permits it only to the owner; O_NONBLOCK is set, so that no open waits for another process.
 * - O_CREAT and O_EXCL are for the caller to set; O_NOFOLLOW and O_CLOEXEC are always set.
 * - O_APPEND stays: a write then ignores its offset, also where a program of the host has made the file longer. A caller removes it
 *   where pages of the guest's cache are written through the same descriptor.
 */
export function hostOpenFlags(flags: number): number {
  return (flags & FROM_GUEST) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
}
