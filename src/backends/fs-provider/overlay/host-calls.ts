import { libc } from '../../../native/libc.ts';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from '../../../native/file-calls.ts';
import { callError, EACCES, ENOENT, errno } from '../../../native/system-error.ts';
import { EOPNOTSUPP, EPERM, ENODATA } from '../errors.ts';
import { bytesOf } from '../names.ts';
import type { FsName } from '../provider.ts';

/*
 * Calls on files that Node lacks. All are synchronous and short. A path is that of an entry of an open directory, below
 * /proc/self/fd: its last component is never followed.
 */

const RENAME_EXCHANGE = 2;
const S_IFCHR = 0o020_000;

/** `tv_nsec` of a time that stays. */
const UTIME_OMIT = 0x3fff_ffff;

/** Largest value that is read of an extended attribute, in `bytes`. */
const VALUE_BYTES = 64;

/** Path of an entry of an open directory. */
export function entryPath(directory: number, name: FsName): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), bytesOf(name)]);
}

/** Reads an extended attribute as text; undefined where there is none, or the file system has none. @throws the system's error */
export function readAttribute(path: Buffer, name: string): string | undefined {
  const value = Buffer.alloc(VALUE_BYTES);
  const size = withPaths([path, Buffer.from(name)], ([at = 0, attribute = 0]) =>
    libc().lgetxattr(at, attribute, libc().addressOf(value), VALUE_BYTES),
  );
  if (size >= 0) return value.toString('latin1', 0, size);
  const reason = errno();
  if ([ENODATA, EOPNOTSUPP, ENOENT, EACCES, EPERM].includes(reason)) return undefined;
  throw callError('lgetxattr', reason);
}

/** @throws the system's error */
export function writeAttribute(path: Buffer, name: string, value: string): void {
  const bytes = Buffer.from(value);
  const result = withPaths([path, Buffer.from(name)], ([at = 0, attribute = 0]) =>
    libc().lsetxattr(at, attribute, libc().addressOf(bytes), bytes.length, 0),
  );
  if (result < 0) throw callError('lsetxattr');
}

/** Creates a character device with the number 0, which is a whiteout. @returns false where the host does not permit it. @throws the system's error */
export function makeNullDevice(path: Buffer): boolean {
  const result = withPaths([path], ([at = 0]) => libc().mknodat(AT_FDCWD, at, S_IFCHR, 0));
  if (result >= 0) return true;
  const reason = errno();
  if (reason === EPERM || reason === EOPNOTSUPP) return false;
  throw callError('mknod', reason);
}

/** Creates a FIFO, a socket or a device node. @throws the system's error */
export function makeNode(path: Buffer, mode: number, device: number): void {
  const result = withPaths([path], ([at = 0]) => libc().mknodat(AT_FDCWD, at, mode, device));
  if (result < 0) throw callError('mknod');
}

/** Exchanges two entries. @throws the system's error */
export function exchange(one: Buffer, other: Buffer): void {
  const result = withPaths([one, other], ([from = 0, to = 0]) =>
    libc().renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE),
  );
  if (result < 0) throw callError('rename');
}

/** Sets times in nanoseconds since 1970; one that is undefined stays. @throws the system's error */
export function setTimes(
  path: Buffer,
  { accessed, modified }: { accessed?: bigint; modified?: bigint },
): void {
  const times = Buffer.alloc(32);
  for (const [i, time] of [accessed, modified].entries()) {
    const nanoseconds = time === undefined ? BigInt(UTIME_OMIT) : ((time % BILLION) + BILLION) % BILLION;
    times.writeBigInt64LE(time === undefined ? 0n : (time - nanoseconds) / BILLION, i * 16);
    times.writeBigInt64LE(nanoseconds, i * 16 + 8);
  }
  const result = withPaths([path], ([at = 0]) =>
    libc().utimensat(AT_FDCWD, at, libc().addressOf(times), AT_SYMLINK_NOFOLLOW),
  );
  if (result < 0) throw callError('utimensat');
}

const BILLION = 1_000_000_000n;

/** Locks an open file for as long as it is open. @returns false where another process has locked it */
export function lockFile(fd: number): boolean {
  return libc().flock(fd, LOCK_EX | LOCK_NB) >= 0;
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Calls `act` with the addresses of texts with a NUL at the end. */
function withPaths(texts: readonly Buffer[], act: (addresses: number[]) => number): number {
  const kept = texts.map((text) => Buffer.concat([text, Buffer.alloc(1)]));
  const result = act(kept.map((text) => libc().addressOf(text)));
  // the buffers must exist until here
  return kept.length === texts.length ? result : -1;
}
