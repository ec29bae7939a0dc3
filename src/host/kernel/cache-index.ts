import { constants } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openFile, readText } from '../../util/open-file.ts';

/** Index of one packed file. */
export type Indexed =
  | {
      /** name of its entry */
      readonly entry: string;
      /** identity of the entry's file when its bytes were last verified */
      readonly identity: string;
    }
  | {
      readonly entry?: never;
      /** it has no usable unpacked form of at most this many bytes */
      readonly noneWithin: number;
    };

/** Largest index file, in bytes. */
const INDEX_BYTES = 1024;

/** An index that was marked within this time is not marked again, in milliseconds. */
const MARK_MS = 60_000;

const ENTRY_NAME = /^(?:kernel|initramfs)-[0-9a-f]{64}-([0-9a-f]{64})$/;
const INDEX_NAME = /^(?:kernel|initramfs)-of-[0-9a-z-]+$/;

/** Returns the SHA-256 that the bytes of an entry must have; undefined where the name is not of an entry. */
export function digestInName(name: string): string | undefined {
  return ENTRY_NAME.exec(name)?.[1];
}

/** Returns whether a file of this name is an index. */
export function isIndexName(name: string): boolean {
  return INDEX_NAME.test(name);
}

let unfinished = 0;

/** Makes the name of an incomplete file, unique among all VMMs. */
export function unfinishedName(): string {
  unfinished += 1;
  return `half-${process.pid}-${Date.now()}-${unfinished}`;
}

/** Reads an index; undefined where there is none, or it is damaged. */
export async function readIndex(path: string): Promise<Indexed | undefined> {
  try {
    return parse(await readText(path, { limit: INDEX_BYTES, flags: constants.O_NOFOLLOW }));
  } catch {
    return undefined;
  }
}

/** Marks an index as used now: the least recently used entry is removed first. */
export async function markUsed(path: string): Promise<void> {
  await using file = await openFile(path, { flags: constants.O_NOFOLLOW });
  const now = Date.now();
  const { mtimeMs } = await file.stat();
  if (now - mtimeMs > MARK_MS) await file.utimes(now / 1000, now / 1000);
}

/** Replaces an index in one step. */
export async function writeIndex(path: string, indexed: Indexed): Promise<void> {
  const half = join(dirname(path), unfinishedName());
  try {
    await writeFile(half, JSON.stringify(indexed), { flag: 'wx', mode: 0o600 });
    await rename(half, path);
  } finally {
    await rm(half, { force: true });
  }
}

function parse(text: string): Indexed | undefined {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) return undefined;
  if ('noneWithin' in value && typeof value.noneWithin === 'number') return { noneWithin: value.noneWithin };
  if (!('entry' in value && 'identity' in value)) return undefined;
  const { entry, identity } = value;
  if (typeof entry !== 'string' || typeof identity !== 'string') return undefined;
  return digestInName(entry) === undefined ? undefined : { entry, identity };
}
