import { constants } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AT_FDCWD, AT_SYMLINK_FOLLOW } from './file-calls.ts';
import { libc, loadLibc } from './libc.ts';
import { callError, checked, errno } from './system-error.ts';

/** `FICLONERANGE` (linux/fs.h): `_IOW(0x94, 13, struct file_clone_range)`. */
const FICLONERANGE = 0x4020940d;
/** Bytes of `struct file_clone_range`. */
const ARGUMENT_BYTES = 32;
/** Bytes that one call clones: it blocks the event loop for a few milliseconds. */
const CALL_BYTES = 256 * 2 ** 20;

/** Mode of fallocate(2): the range becomes a hole, and the file keeps its size (PUNCH_HOLE, KEEP_SIZE). */
const PUNCH_HOLE = 3;

const { EOPNOTSUPP, ENOTTY, ENOSYS, EXDEV, EINVAL, EPERM } = constants.errno;
/** The file system cannot share blocks, or not those of these files and offsets. */
const WITHOUT_CLONES: readonly number[] = [EOPNOTSUPP, ENOTTY, ENOSYS, EXDEV, EINVAL, EPERM];

/** Place in an open file. */
export interface FilePlace {
  readonly fd: number;
  /** in `bytes` */
  readonly offset: number;
}

/**
 * Makes a range of a file share the blocks of another file's range, so that no byte is copied (a `reflink`).
 * @returns false where the file system cannot; nothing has changed then
 * @throws the system's error, e.g. ENOSPC; the range has undefined contents then
 */
export async function cloneRange(from: FilePlace, to: FilePlace, length: number): Promise<boolean> {
  const { ioctl } = await loadLibc();
  for (let done = 0; done < length; done += CALL_BYTES) {
    if (done > 0) await nextTurn();
    const argument = Buffer.alloc(ARGUMENT_BYTES);
    argument.writeBigInt64LE(BigInt(from.fd), 0);
    argument.writeBigUInt64LE(BigInt(from.offset + done), 8);
    argument.writeBigUInt64LE(BigInt(Math.min(CALL_BYTES, length - done)), 16);
    argument.writeBigUInt64LE(BigInt(to.offset + done), 24);
    if (ioctl(to.fd, FICLONERANGE, argument) === 0) continue;
    const reason = errno();
    if (done === 0 && WITHOUT_CLONES.includes(reason)) return false;
    throw callError('ioctl', reason);
  }
  return true;
}

/** Makes a range of a file a hole. `loadLibc` must have settled. @throws the system's error */
export function punchHole({ fd, offset }: FilePlace, length: number): void {
  checked('fallocate', libc().fallocate(fd, PUNCH_HOLE, offset, length));
}

/** Gives an open file without a name (O_TMPFILE) its first name. @throws the system's error, e.g. EEXIST */
export async function linkOpenFile(fd: number, path: string): Promise<void> {
  const { linkat, addressOf } = await loadLibc();
  const [from, to] = [Buffer.from(`/proc/self/fd/${fd}\0`), Buffer.from(`${path}\0`)];
  checked('linkat', linkat(AT_FDCWD, addressOf(from), AT_FDCWD, addressOf(to), AT_SYMLINK_FOLLOW));
}
