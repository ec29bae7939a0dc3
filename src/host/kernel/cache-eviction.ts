import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestInName, isIndexName, readIndex } from './cache-index.ts';

/** Largest size of the cache, in bytes, beside the newest entry; the least recently used entry is removed first. */
const KEPT_BYTES = 2 ** 30;

/** Most packed files with an index. */
const KEPT_INDEXES = 1000;

/** An incomplete file, or one without an index, is removed after this time, in milliseconds: a VMM may be writing it. */
const STALE_MS = 3_600_000;

interface Found {
  readonly name: string;
  readonly bytes: number;
  readonly changed: number;
}

/**
 * Removes files until the cache is within its limits; the entry `made` stays in any case. A VMM that uses an entry has it open, so
 * that its machine boots also without the name.
 */
export async function sweepCache(folder: string, made: string): Promise<void> {
  const found = (await Promise.all((await readdir(folder)).map((name) => statEntry(folder, name)))).flat();
  const indexes = found.filter(({ name }) => isIndexName(name)).toSorted((a, b) => b.changed - a.changed);
  const used = await readUses(folder, indexes.slice(0, KEPT_INDEXES));
  used.set(made, Infinity);
  const isStale = ({ changed }: Found): boolean => changed < Date.now() - STALE_MS;
  const remove = (name: string): Promise<void> => rm(join(folder, name), { force: true, recursive: true });

  const entries = found.filter(({ name }) => digestInName(name) !== undefined);
  const kept = withinBytes(entries, used);
  for (const entry of entries) {
    if (!kept.has(entry.name) && (used.has(entry.name) || isStale(entry))) await remove(entry.name);
  }
  for (const { name } of indexes.slice(KEPT_INDEXES)) await remove(name);
  for (const other of found) {
    if (!isIndexName(other.name) && digestInName(other.name) === undefined && isStale(other))
      await remove(other.name);
  }
}

/** Returns when each entry was last used, by its latest index. */
async function readUses(folder: string, indexes: readonly Found[]): Promise<Map<string, number>> {
  const uses = new Map<string, number>();
  for (const { name, changed } of indexes) {
    const entry = (await readIndex(join(folder, name)))?.entry;
    if (entry !== undefined) uses.set(entry, Math.max(changed, uses.get(entry) ?? 0));
  }
  return uses;
}

/** Returns the most recently used entries, up to the limit of the cache. */
function withinBytes(entries: readonly Found[], used: ReadonlyMap<string, number>): ReadonlySet<string> {
  const kept = new Set<string>();
  let bytes = 0;
  for (const entry of entries.toSorted((a, b) => (used.get(b.name) ?? 0) - (used.get(a.name) ?? 0))) {
    if (!used.has(entry.name)) continue;
    bytes += entry.bytes;
    if (bytes > KEPT_BYTES && kept.size > 0) continue;
    kept.add(entry.name);
  }
  return kept;
}

/** Returns no file where another VMM has removed it meanwhile. */
async function statEntry(folder: string, name: string): Promise<Found[]> {
  const status = await lstat(join(folder, name)).catch(() => undefined);
  return status === undefined ? [] : [{ name, bytes: status.size, changed: status.mtimeMs }];
}
