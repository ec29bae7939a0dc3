import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from '../util/errno.ts';
import { libc, loadLibc } from './libc.ts';
import { callError, EAGAIN, EINTR, errno } from './system-error.ts';

/*
 * Advisory locks of files (flock(2)). A lock ends with the last descriptor of its open file: at the latest when its process exits.
 * Descriptors are close-on-exec, so no child inherits a lock.
 */

/** sys/file.h */
const [LOCK_SH, LOCK_EX, LOCK_NB] = [1, 2, 4];

/** Interval of attempts in milliseconds: the first ones are quick, as most locks are held for a short time. */
const POLL_MS = { first: 5, last: 100 } as const;

/** A lock of this process. */
export interface FileLock extends Disposable {
  /** Returns true if the locked file is still the one at a path. */
  readonly isAt: (path: string) => boolean;
}

/** Options of {@link lockPath}. */
export interface LockOptions {
  /** Longest wait in milliseconds; 0: none, undefined: without limit */
  readonly timeoutMs?: number | undefined;
  /** Shared with other shared locks */
  readonly isShared?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Is called before each further attempt */
  readonly onWait?: () => void;
}

/**
 * Opens and locks a file, which is created with mode 0600. Links are not followed.
 * @returns undefined if another open file holds the lock after the wait
 */
export async function lockPath(path: string, options: LockOptions = {}): Promise<FileLock | undefined> {
  await loadLibc();
  const { timeoutMs = Infinity, isShared = false, signal, onWait } = options;
  const end = performance.now() + timeoutMs;
  let fd: number | undefined = openSync(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  );
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  try {
    for (
      let pollMs: number = POLL_MS.first;
      !tryLock(fd, isShared);
      pollMs = Math.min(pollMs * 2, POLL_MS.last)
    ) {
      if (performance.now() >= end) {
        close();
        return undefined;
      }
      onWait?.();
      await delay(pollMs, undefined, { signal });
    }
  } catch (error) {
    close();
    throw error;
  }
  const locked = fd;
  return { isAt: (other) => fd !== undefined && isSameFile(locked, other), [Symbol.dispose]: close };
}

/**
 * Locks a file that its holder may remove before the lock is released: a waiting process then opens the path again.
 * @returns undefined if another open file holds the lock after the wait
 */
export async function lockTemporary(path: string, options: LockOptions = {}): Promise<FileLock | undefined> {
  for (;;) {
    const lock = await lockPath(path, options);
    if (lock === undefined || lock.isAt(path)) return lock;
    lock[Symbol.dispose]();
  }
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
    return !tryLock(fd, true);
  } finally {
    closeSync(fd);
  }
}

/**
 * Locks an open file without waiting. `loadLibc` must have settled.
 * @returns false if another open file holds the lock
 * @throws the system's error, where the file system has no locks
 */
export function tryLock(fd: number, isShared = false): boolean {
  if (libc().flock(fd, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return true;
  const reason = errno();
  if (reason === EAGAIN || reason === EINTR) return false;
  throw callError('flock', reason);
}

function isSameFile(fd: number, path: string): boolean {
  const [own, other] = [fstatSync(fd), lstatSync(path, { throwIfNoEntry: false })];
  return own.ino === other?.ino && own.dev === other.dev;
}
