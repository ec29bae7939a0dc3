import { readFile, readdir, readlink, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

/** Longest search, in milliseconds: it only makes an error message better. */
const PATIENCE_MS = 1000;

/** A process that holds a socket. */
export interface Holder {
  readonly pid: number;
  /** as `ps` shows it */
  readonly name: string;
}

/**
 * Finds the process that holds the socket at a path, from /proc: asking by a connection (SO_PEERCRED) would make a console, a
 * back-end or a migration take this process for its client.
 * @returns undefined where it cannot be known: another user's process, another network namespace
 */
export async function findHolder(path: string): Promise<Holder | undefined> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  try {
    const file = await stat(path);
    const bound = await boundPaths(basename(path));
    if (bound.size === 0) return undefined;
    for (const pid of await processes()) {
      if (signal.aborted) return undefined;
      for (const boundTo of await pathsHeldBy(pid, bound)) {
        const there = await stat(resolve(await folderOf(pid), boundTo)).catch(() => undefined);
        if (there?.dev === file.dev && there.ino === file.ino) return { pid, name: await nameOf(pid) };
      }
    }
  } catch {
    // without /proc, or the socket has gone meanwhile
  }
  return undefined;
}

/** Sockets whose path ends with a name: their paths, as they were bound, by their numbers. */
async function boundPaths(name: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const line of (await readFile('/proc/net/unix', 'utf8')).split('\n')) {
    // address: references protocol flags type state number path
    const [, socket, path] = /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+) (.+)$/.exec(line) ?? [];
    if (socket !== undefined && path !== undefined && basename(path) === name) found.set(socket, path);
  }
  return found;
}

async function processes(): Promise<number[]> {
  return (await readdir('/proc')).map(Number).filter((pid) => pid > 0);
}

async function pathsHeldBy(pid: number, bound: ReadonlyMap<string, string>): Promise<string[]> {
  // gone, or another user's
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const targets = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return targets.flatMap((target) => bound.get(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '') ?? []);
}

/** A relative path counts from the folder of the process that bound it. */
async function folderOf(pid: number): Promise<string> {
  return readlink(`/proc/${pid}/cwd`).catch(() => '/');
}

async function nameOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
}
