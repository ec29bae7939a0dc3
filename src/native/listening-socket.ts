import { chmodSync, closeSync, constants, lstatSync, openSync, statSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf, systemError } from '../util/errno.ts';
import { createLog } from '../util/log.ts';
import { loadNative, type Native } from './load.ts';
import {
  AF_UNIX,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKET_PATH_MAX,
  socketAddress,
} from './socket-address.ts';
import { findHolder } from './socket-holder.ts';
import { askForListener } from './socket-probe.ts';

const log = createLog('socket');

/*
 * The one rule for every UNIX socket that this project listens on: a socket that a process holds is never replaced, one that a
 * dead process left is, anything else at its path is left alone; at the end the file is removed if it is still this one's.
 */

/** A UNIX socket that is listened on, with its file. */
export interface ListeningSocket {
  /** Non-blocking and close-on-exec. The caller closes it, after `removeFile`. */
  readonly fd: number;
  /** Removes the file, unless another one has taken its place. To be called before `fd` is closed. */
  readonly removeFile: () => void;
}

export interface ListenOptions {
  /** of the file; what the umask leaves unless given */
  readonly mode?: number;
  /** Connections that may wait to be accepted. */
  readonly backlog?: number;
}

/** As many as Node allows. */
const BACKLOG = 511;

/** Listens at `path`. Rejects with the reason alone: the caller names the path and its use. */
export async function listenAtPath(path: string, options: ListenOptions = {}): Promise<ListeningSocket> {
  checkPath(path);
  const native = await loadNative();
  await clearPath(native, path);
  try {
    return bindAndListen(native, path, options);
  } catch (error) {
    // another process was faster: it is named, or was gone again
    await clearPath(native, path);
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw error;
    return bindAndListen(native, path, options);
  }
}

/**
 * Makes way for a socket that QEMU is to listen on: it would replace whatever has the path. Rejects as
 * `listenAtPath` does.
 */
export async function makeWayForSocket(path: string): Promise<void> {
  checkPath(path);
  await clearPath(await loadNative(), path);
}

/** Removes the file of a socket that QEMU listened on, unless a process holds a socket there again. */
export async function removeDeadSocket(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  await removeIfDead(await loadNative(), path);
}

/** Checks the path for what the kernel's own errors do not tell apart. */
function checkPath(path: string): void {
  if (path === '' || path.includes('\0')) throw new Error('it is not a path');
  const bytes = Buffer.byteLength(path);
  if (bytes > SOCKET_PATH_MAX) {
    throw new Error(`the path has ${bytes} bytes, a socket's can have ${SOCKET_PATH_MAX} at most`);
  }
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(`there is no directory ${dirname(path)}`);
  }
}

/**
 * Removes a socket's file that no process holds. Two processes that do so at once could remove each other's new socket: the
 * folder is locked meanwhile.
 */
async function clearPath(native: Native, path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  if (!(await removeIfDead(native, path))) throw new Error(await inUse(path));
}

/** @returns false where a process holds the socket */
async function removeIfDead(native: Native, path: string): Promise<boolean> {
  using _lock = await lockFolder(native, dirname(path));
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return true;
  if (!there.isSocket()) throw new Error('something that is not a socket is there; it was left untouched');
  if (askForListener(native, path) === undefined) return false;
  unlinkSync(path);
  return true;
}

async function inUse(path: string): Promise<string> {
  const holder = await findHolder(path);
  const who = holder === undefined ? 'another process' : `process ${holder.pid} (${holder.name})`;
  return `is in use: ${who} listens there; end that process, or choose another path`;
}

/** sys/file.h */
const [LOCK_EX, LOCK_NB] = [2, 4];

/** Longest wait for a lock in milliseconds; each process holds it for some microseconds. */
const LOCK_PATIENCE_MS = 2000;

/** Locks a folder among processes of this project. A folder that cannot be locked is used without. */
async function lockFolder({ koffi, libc }: Native, folder: string): Promise<Disposable> {
  let fd: number;
  try {
    fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return { [Symbol.dispose]: () => undefined };
  }
  const flock = libc.func('int flock(int, int)');
  const isTaken = (): boolean =>
    Number(flock(fd, LOCK_EX | LOCK_NB)) < 0 && koffi.errno() === koffi.os.errno.EWOULDBLOCK;
  const end = performance.now() + LOCK_PATIENCE_MS;
  while (isTaken() && performance.now() < end) await delay(5);
  // the lock goes with the descriptor
  return { [Symbol.dispose]: () => closeSync(fd) };
}

function bindAndListen({ koffi, libc }: Native, path: string, options: ListenOptions): ListeningSocket {
  const check = (call: string, result: unknown): number => {
    if (Number(result) < 0) throw systemError(call, koffi.errno());
    return Number(result);
  };
  const flags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = check('socket', libc.func('int socket(int, int, int)')(AF_UNIX, flags, 0));
  let file: SocketFile | undefined;
  try {
    const address = socketAddress(path);
    const bind = libc.func('int bind(int, const void *, unsigned int)');
    check('bind', bind(fd, address, address.length));
    file = ownFile(path);
    // no client can connect before it is listened on
    if (options.mode !== undefined) chmodSync(path, options.mode);
    check('listen', libc.func('int listen(int, int)')(fd, options.backlog ?? BACKLOG));
    return { fd, removeFile: file.remove };
  } catch (error) {
    file?.remove();
    closeSync(fd);
    throw error;
  }
}

interface SocketFile {
  readonly remove: () => void;
}

/** Files of this process, for an end that comes without `removeFile`. */
const owned = new Set<SocketFile>();
let isExitWatched = false;

/** The file at a path that was just bound. Its inode stays taken for as long as the socket is open, even without the file. */
function ownFile(path: string): SocketFile {
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
    const now = lstatSync(path, { throwIfNoEntry: false });
    if (now?.dev === dev && now.ino === ino) unlinkSync(path);
  } catch (error) {
    log.warn(`${path}: the socket's file cannot be removed: ${reasonOf(error)}`);
  }
}

function removeAll(): void {
  for (const file of owned) file.remove();
}
