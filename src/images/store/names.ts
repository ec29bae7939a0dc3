import { createHash } from 'node:crypto';
import { readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { codeOf } from '../../util/errno.ts';
import { isDigest } from '../digest.ts';
import { readStored, removeStored, writeStored, type Store } from './store.ts';

const recordSchema = v.object({
  version: v.literal(1),
  name: v.string(),
  platform: v.string(),
  /** of the manifest of this platform */
  digest: v.pipe(v.string(), v.check(isDigest)),
  /** of the manifest or index that the source has for the name */
  root: v.pipe(v.string(), v.check(isDigest)),
  /** ISO 8601 */
  pulled: v.pipe(v.string(), v.isoTimestamp()),
  /** state of the file that an archive was read from: a changed one is read again */
  source: v.optional(v.string()),
});

/** A name and a platform that refer to a manifest. */
export type NameRecord = v.InferOutput<typeof recordSchema>;

/** A record in the store. */
export interface StoredName extends NameRecord {
  readonly path: string;
  /** Time of the last use, in `milliseconds` since 1970 */
  readonly usedMs: number;
}

/** Largest record in bytes. */
const RECORD_MAX = 64 * 2 ** 10;

function pathOf(store: Store, name: string, platform: string): string {
  const key = createHash('sha256').update(`${platform}\0${name}`).digest('hex');
  return join(store.directory, 'names', `${key}.json`);
}

/** Finds the record of a name and a platform; undefined where there is none or it is damaged. */
export async function readName(
  store: Store,
  name: string,
  platform: string,
): Promise<NameRecord | undefined> {
  const record = await readRecord(pathOf(store, name, platform));
  return record?.name === name && record.platform === platform ? record : undefined;
}

/** Lets a name refer to a manifest. */
export async function writeName(store: Store, record: Omit<NameRecord, 'version'>): Promise<void> {
  const path = pathOf(store, record.name, record.platform);
  await writeStored(store, path, JSON.stringify({ version: 1, ...record }));
}

/** Stores that a name was used now. */
export async function touchName(store: Store, name: string, platform: string): Promise<void> {
  const now = new Date();
  await utimes(pathOf(store, name, platform), now, now);
}

/** Lists all names, the last used first. A damaged record is not listed. */
export async function listNames(store: Store): Promise<StoredName[]> {
  const folder = join(store.directory, 'names');
  const names: StoredName[] = [];
  for (const file of await readdir(folder)) {
    const path = join(folder, file);
    const record = await readRecord(path);
    const usedMs = record === undefined ? undefined : await modifiedMs(path);
    if (record !== undefined && usedMs !== undefined) names.push({ ...record, path, usedMs });
  }
  return names.toSorted((a, b) => b.usedMs - a.usedMs);
}

/** Removes a name. */
export async function removeName({ path }: StoredName): Promise<void> {
  await removeStored(path);
}

async function modifiedMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function readRecord(path: string): Promise<NameRecord | undefined> {
  const bytes = await readStored(path, RECORD_MAX);
  if (bytes === undefined) return undefined;
  try {
    const result = v.safeParse(recordSchema, JSON.parse(bytes.toString('utf8')));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}
