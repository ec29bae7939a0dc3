import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { libc, loadLibc } from '../../native/libc.ts';
import { codeOf } from '../../util/errno.ts';
import { callError, EAGAIN, EINTR, errno } from '../../native/system-error.ts';

/*
 * Advisory locks (flock(2)). A lock ends with the last descriptor of its open file: at the latest when its process exits. Descriptors are
 * close-on-exec, so no child inherits a lock.
 */

/** sys/file.h */
const [LOCK_SH, LOCK_EX, LOCK_NB] = [1, 2, 4];

const POLL_MS = 5;

/** A lock of this process. */
export interface FileLock extends Disposable {
  /** Returns true if the locked file is still the one at a path. */
  isAt(path: string): boolean;
}

/** Opens and locks a file, which is created with mode 0600. @returns undefined if another open file holds the lock after `timeoutMs` */
export async function lockFile(path: string, timeoutMs: number): Promise<FileLock | undefined> {
  await loadLibc();
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    const end = performance.now() + timeoutMs;
    while (!tryLock(fd)) {
      if (performance.now() >= end) {
        closeSync(fd);
        return undefined;
      }
      await delay(POLL_MS);
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let isOpen = true;
  return {
    isAt: (other) => isSameFile(fd, other),
    [Symbol.dispose]: () => {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

/** Returns true while a process holds the lock of a file; false without a file. A probe does not look like a lock to other probes. */
export async function isLocked(path: string): Promise<boolean> {
  await loadLibc();
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  try {
    return !tryLock(fd, LOCK_SH);
  } finally {
    closeSync(fd);
  }
}

function tryLock(fd: number, kind = LOCK_EX): boolean {
  if (libc().flock(fd, kind | LOCK_NB) === 0) return true;
  const reason = errno();
  if (reason === EAGAIN || reason === EINTR) return false;
  throw callError('flock', reason);
}

function isSameFile(fd: number, path: string): boolean {
  const [own, other] = [fstatSync(fd), lstatSync(path, { throwIfNoEntry: false })];
  return own.ino === other?.ino && own.dev === other.dev;
}
