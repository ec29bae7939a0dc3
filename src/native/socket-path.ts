import { closeSync, constants, lstatSync, openSync, statSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { libc } from './libc.ts';
import { EAGAIN, errno } from './system-error.ts';
import { findHolder } from './socket-holder.ts';
import { probeSocket } from './socket-probe.ts';
import { SOCKET_PATH_MAX } from './unix-socket.ts';

const log = createLog('socket');

/*
 * The policy for every path that this project binds a UNIX socket to (`listening-socket.ts` binds it):
 *
 * - A socket that a process holds is never replaced: the error names the process.
 * - A socket that no process holds, left by one that was killed, is replaced.
 * - A file of any other kind is left alone.
 * - At the end the file is removed if it is still the one that was bound, also where the process exits without closing the socket.
 */

/** Checks a path for faults that the kernel's errors do not distinguish. @throws with the reason alone */
export function checkSocketPath(path: string): void {
  if (path === '' || path.includes('\0')) throw new Error('it is not a path');
  const bytes = Buffer.byteLength(path);
  if (bytes > SOCKET_PATH_MAX) {
    throw new Error(`the path has ${bytes} bytes, a socket's can have ${SOCKET_PATH_MAX} at most`);
  }
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(`there is no directory ${dirname(path)}`);
  }
}

/** Removes the file of a socket that no process holds. Rejects with the reason alone where the path is occupied. */
export async function clearSocketPath(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  if (!(await removeIfDead(path))) throw new Error(await inUse(path));
}

/**
 * Two processes that do this at once could remove each other's new socket: the folder is locked meanwhile.
 * @returns false where a process holds the socket
 */
async function removeIfDead(path: string): Promise<boolean> {
  using _lock = await lockFolder(dirname(path));
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return true;
  if (!found.isSocket()) throw new Error('something that is not a socket is there; it was left untouched');
  if (probeSocket(path) === undefined) return false;
  unlinkSync(path);
  return true;
}

async function inUse(path: string): Promise<string> {
  const holder = await findHolder(path);
  const process = holder === undefined ? 'another process' : `process ${holder.pid} (${holder.name})`;
  return `is in use: ${process} listens there; end that process, or choose another path`;
}

/** sys/file.h */
const [LOCK_EX, LOCK_NB] = [2, 4];

/** Longest wait for a lock in milliseconds; each process holds it for some microseconds. */
const LOCK_DEADLINE_MS = 2000;

/** Locks a folder among processes of this project. A folder that cannot be opened is used without a lock. */
async function lockFolder(folder: string): Promise<Disposable> {
  let fd: number;
  try {
    fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return { [Symbol.dispose]: () => undefined };
  }
  const isLocked = (): boolean => libc().flock(fd, LOCK_EX | LOCK_NB) < 0 && errno() === EAGAIN;
  const end = performance.now() + LOCK_DEADLINE_MS;
  while (isLocked() && performance.now() < end) await delay(5);
  // closing the descriptor unlocks
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** The file of a socket of this process. */
export interface SocketFile {
  /** Removes it, unless another file has its path by now. To be called before the socket is closed. */
  readonly remove: () => void;
}

/** Files that are removed when the process exits. */
const owned = new Set<SocketFile>();
let isExitWatched = false;

/** Takes the file at a path that was just bound. Its inode is not used again while the socket is open, even without the file. */
export function ownSocketFile(path: string): SocketFile {
  const { dev, ino } = lstatSync(path);
  const file = {
    remove: (): void => {
      if (owned.delete(file)) removeIfSame(path, { dev, ino });
    },
  };
  owned.add(file);
  if (!isExitWatched) process.once('exit', removeAll);
  isExitWatched = true;
  return file;
}

function removeIfSame(path: string, { dev, ino }: { readonly dev: number; readonly ino: number }): void {
  try {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.dev === dev && found.ino === ino) unlinkSync(path);
  } catch (error) {
    log.warn(`${path}: the socket's file cannot be removed: ${reasonOf(error)}`);
  }
}

function removeAll(): void {
  for (const file of owned) file.remove();
}
