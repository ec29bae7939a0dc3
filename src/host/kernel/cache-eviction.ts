import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestInName, isIndexName, readIndex } from './cache-index.ts';

/** How much the cache keeps at most, in bytes, beside the newest entry; what was used longest ago is removed first. */
const KEPT_BYTES = 2 ** 30;

/** How many packed files the cache knows at most. */
const KEPT_INDEXES = 1000;

/** A file that is not whole, or no longer known, is removed after this time, in milliseconds: a VMM may be making it. */
const STALE_MS = 3_600_000;

interface Found {
  readonly name: string;
  readonly bytes: number;
  readonly changed: number;
}

/**
 * Keeps the cache within its bounds; the entry `made` stays in any case. A VMM that uses an entry has it open, so that
 * its machine starts whether or not the name is still there.
 */
export async function sweepCache(folder: string, made: string): Promise<void> {
  const found = (await Promise.all((await readdir(folder)).map((name) => look(folder, name)))).flat();
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

/** When each entry was last used, by the index that was used last. */
async function readUses(folder: string, indexes: readonly Found[]): Promise<Map<string, number>> {
  const uses = new Map<string, number>();
  for (const { name, changed } of indexes) {
    const entry = (await readIndex(join(folder, name)))?.entry;
    if (entry !== undefined) uses.set(entry, Math.max(changed, uses.get(entry) ?? 0));
  }
  return uses;
}

/** The entries that were used last, as many as the cache holds. */
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

/** Another VMM may sweep at the same time. */
async function look(folder: string, name: string): Promise<Found[]> {
  const status = await lstat(join(folder, name)).catch(() => undefined);
  return status === undefined ? [] : [{ name, bytes: status.size, changed: status.mtimeMs }];
}
