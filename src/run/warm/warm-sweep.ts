import { lstatSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isLocked, lockPath } from '../../native/file-lock.ts';
import { FACTS_FILE, HIDDEN, LOCK, removeWarmEntry, warmFolder } from './warm-cache.ts';

/** Limits of the cache. */
export interface WarmLimits {
  /** Disk space in `bytes`, without the newest entry */
  readonly bytes: number;
  readonly entries: number;
}

const LIMITS: WarmLimits = { bytes: 4 * 2 ** 30, entries: 32 };

/** A hidden folder or a lock is removed after this time, in milliseconds: a process may be using it. */
const STALE_MS = 3_600_000;

/** Unit of `blocks` in a file's status, in bytes (stat(2)). */
const BLOCK = 512;

/** Removes the entries that were not used for the longest time, until the cache is within its limits, and what killed builds have left. */
export async function sweepWarmEntries(home = warmFolder(), limits = LIMITS): Promise<void> {
  const names = readdirSync(home);
  for (const name of names.filter((one) => one.startsWith('.'))) await removeStale(join(home, name));
  const entries = names
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(home, name))
    .map((folder) => ({ folder, used: usedAt(folder), bytes: bytesOf(folder) }))
    .toSorted((a, b) => b.used - a.used);
  let bytes = 0;
  for (const [i, entry] of entries.entries()) {
    bytes += entry.bytes;
    if (i >= limits.entries || (i > 0 && bytes > limits.bytes)) await removeWarmEntry(entry.folder);
  }
}

/** Removes all entries, and unfinished ones that no process builds. @returns the disk space that they used in `bytes` */
export async function removeWarmEntries(home = warmFolder()): Promise<number> {
  if (lstatSync(home, { throwIfNoEntry: false }) === undefined) return 0;
  const names = readdirSync(home);
  let freed = 0;
  for (const name of names.filter((one) => !one.startsWith('.'))) {
    freed += bytesOf(join(home, name));
    await removeWarmEntry(join(home, name));
  }
  // a process holds its lock from before it makes its folder until the folder is complete or removed
  const locks = names.filter((one) => one.startsWith(LOCK)).map((one) => join(home, one));
  const areHeld = await Promise.all(locks.map(isLocked));
  if (areHeld.includes(true)) return freed;
  for (const name of names.filter((one) => one.startsWith(HIDDEN))) {
    freed += bytesOf(join(home, name));
    await rm(join(home, name), { recursive: true, force: true });
  }
  await Promise.all(locks.map(removeLock));
  return freed;
}

/** Removes a lock that no process holds, while it is held here: a process that opened it before does not build. */
async function removeLock(path: string): Promise<void> {
  using lock = await lockPath(path, { timeoutMs: 0 });
  if (lock?.isAt(path) === true) await rm(path, { force: true });
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined || Date.now() - found.mtimeMs < STALE_MS) return;
  await rm(path, { recursive: true, force: true });
}

function usedAt(folder: string): number {
  return lstatSync(join(folder, FACTS_FILE), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Returns the disk space of a folder: a snapshot's RAM has holes. */
export function bytesOf(path: string): number {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.blocks * BLOCK;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}
