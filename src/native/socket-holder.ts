import { readFile, readdir, readlink, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

/** Longest search, in milliseconds: it only makes an error message more precise. */
const DEADLINE_MS = 3000;

/** A process that holds a socket. */
export interface Holder {
  readonly pid: number;
  /** as `ps` shows it */
  readonly name: string;
}

/**
 * Finds the process that holds the socket at a path, in /proc: a console, a back-end or a migration would take a connection
 * that asks for SO_PEERCRED for its client.
 * @returns undefined where /proc does not show it: another user's process, another network namespace
 */
export async function findHolder(path: string): Promise<Holder | undefined> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  try {
    const file = await stat(path);
    const bound = await boundPaths(basename(path));
    if (bound.size === 0) return undefined;
    for (const pid of await processes()) {
      if (signal.aborted) return undefined;
      for (const boundTo of await pathsHeldBy(pid, bound)) {
        const found = await stat(resolve(await folderOf(pid), boundTo)).catch(() => undefined);
        if (found?.dev === file.dev && found.ino === file.ino) return { pid, name: await nameOf(pid) };
      }
    }
  } catch {
    // there is no /proc, or the socket was removed meanwhile
  }
  return undefined;
}

/** Sockets whose path ends with a name: the paths that were bound, by the inodes of the sockets. */
async function boundPaths(name: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const line of (await readFile('/proc/net/unix', 'utf8')).split('\n')) {
    // address: references protocol flags type state number path
    const [, socket, path] = /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+) (.+)$/.exec(line) ?? [];
    if (socket !== undefined && path !== undefined && basename(path) === name) found.set(socket, path);
  }
  return found;
}

/** Returns all processes, the newest first: those of the system, which come first in /proc, hold few sockets of users. */
async function processes(): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0);
  return pids.toSorted((a, b) => b - a);
}

async function pathsHeldBy(pid: number, bound: ReadonlyMap<string, string>): Promise<string[]> {
  // the process has exited, or is another user's
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const targets = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return targets.flatMap((target) => bound.get(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '') ?? []);
}

/** Working directory of a process: a relative path was bound in it. */
async function folderOf(pid: number): Promise<string> {
  return readlink(`/proc/${pid}/cwd`).catch(() => '/');
}

/** Name of a process. Node 24 calls the main thread of each of its processes "MainThread": the program's file has the name then. */
async function nameOf(pid: number): Promise<string> {
  const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
  return name === 'MainThread' ? basename(await readlink(`/proc/${pid}/exe`).catch(() => name)) : name;
}
