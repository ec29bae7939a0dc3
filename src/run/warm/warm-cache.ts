import { lstatSync, type Stats } from 'node:fs';
import { mkdir, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { cacheFolder } from '../../host/files/cache-folder.ts';
import { claimPrivateFolder } from '../../host/files/private-folder.ts';
import { readText } from '../../util/open-file.ts';
import { lockPath } from '../../native/file-lock.ts';
import type { RecordedConnection } from './recorded-connection.ts';

/*
 * Snapshots of booted images, for warm starts: `<cache>/warm/<key>/`.
 *
 *   warm-key.ts      key of a machine
 *   warm-cache.ts    entries: find, build, remove
 *   warm-sweep.ts    limits of the cache
 *   recorded-connection.ts  SSH connection of the guest, which a restored guest continues
 *   warm-start.ts    starts a VM from an entry, or boots it and writes one
 *   clone-start.ts   starts a clone of a running VM
 *   restored-guest.ts  starts a VMM with a snapshot, for both
 *
 * An entry has the files of a snapshot and `warm.json`, which is written last. It is built in a hidden folder and gets its name when it is
 * complete. One process builds an entry at a time: it holds the lock `.lock-<key>`; others boot without.
 *
 * States of an entry: building (hidden), complete, removed. A complete one never changes; `warm.json` has the time of its last use.
 *
 * Invariants: the folder has mode 0700 and belongs to this user. An entry is used only if its files are regular files of this user that
 * no other user can read, with the sizes in `warm.json`. Others are removed. VMs of a removed entry keep running: they have its files open.
 */

/** File of an entry with its facts. */
export const FACTS_FILE = 'warm.json';

/** Folder of an entry with the snapshot. */
const SNAPSHOT_FOLDER = 'snapshot';

/** File of a snapshot with the configuration of its VM. */
const CONFIG_FILE = 'config.json';

/** Prefix of the name of a folder that is being built or removed. */
export const HIDDEN = '.part-';

/** Prefix of the name of a lock. */
export const LOCK = '.lock-';

const WarmFacts = v.object({
  version: v.literal(2),
  /** connection to the SSH server; bytes in Base64; undefined where a restored guest accepts a new one */
  connection: v.optional(
    v.object({
      cookie: v.string(),
      privateKey: v.string(),
      received: v.string(),
      sent: v.number(),
    }),
  ),
  /** sizes in `bytes` of the files, by their paths in the entry */
  files: v.record(v.string(), v.number()),
});
type WarmFacts = v.InferOutput<typeof WarmFacts>;

/** A complete entry. */
export interface WarmEntry {
  readonly folder: string;
  /** Directory of the snapshot */
  readonly snapshot: string;
  readonly connection: RecordedConnection | undefined;
}

/** An entry that this process builds. Disposal removes what is unfinished and releases the lock. */
export interface WarmBuild extends AsyncDisposable {
  /** Empty directory for the snapshot */
  readonly snapshot: string;
  /** Folder of the entry, once it is complete */
  readonly folder: string;
  /** Completes the entry and gives it its name. */
  readonly publish: (connection?: RecordedConnection) => Promise<void>;
}

/** Returns the folder of all entries. */
export function warmFolder(): string {
  return join(cacheFolder(), 'warm');
}

/**
 * Returns the entry of a key, and marks it as used. An entry with wrong files is removed.
 * Rejects where the folder cannot be used: it belongs to another user, for example.
 */
export async function findWarmEntry(key: string, home = warmFolder()): Promise<WarmEntry | undefined> {
  await claimPrivateFolder(home);
  const folder = join(home, key);
  if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) return undefined;
  const facts = await readEntry(folder).catch(() => undefined);
  if (facts === undefined) {
    await removeWarmEntry(folder);
    return undefined;
  }
  const now = new Date();
  // another process may have removed it meanwhile: the restore then fails, and the VM boots
  await utimes(join(folder, FACTS_FILE), now, now).catch(() => undefined);
  return {
    folder,
    snapshot: join(folder, SNAPSHOT_FOLDER),
    connection: connectionOf(facts),
  };
}

/** Reads the facts of an entry and compares them with its files. Rejects where the entry must not be used. */
async function readEntry(folder: string): Promise<WarmFacts> {
  checkOwner(folder, 'directory');
  const snapshot = join(folder, SNAPSHOT_FOLDER);
  checkOwner(snapshot, 'directory');
  checkOwner(join(folder, FACTS_FILE), 'file');
  const facts = v.parse(WarmFacts, JSON.parse(await readText(join(folder, FACTS_FILE))));
  const names = await readdir(snapshot);
  if (names.length !== Object.keys(facts.files).length) throw new Error('it has other files');
  for (const name of names) {
    const { size } = checkOwner(join(snapshot, name), 'file');
    if (facts.files[name] !== size) throw new Error(`${name} has another size`);
  }
  return facts;
}

/** @throws for another kind of file, a link, or one that another user owns or can read */
function checkOwner(path: string, kind: 'file' | 'directory'): Stats {
  const found = lstatSync(path);
  const isKind = kind === 'file' ? found.isFile() : found.isDirectory();
  if (!isKind || found.uid !== process.geteuid?.() || (found.mode & 0o077) !== 0)
    throw new Error(`${path} is not a private ${kind} of this user`);
  return found;
}

/** A complete entry, and the paths of the disks of its guest. */
export interface ListedEntry {
  readonly folder: string;
  readonly disks: readonly string[];
}

const DisksOfConfig = v.object({ disks: v.nullish(v.array(v.object({ path: v.string() }))) });

/** Lists the entries whose configuration can be read. */
export async function listWarmEntries(home = warmFolder()): Promise<ListedEntry[]> {
  const names = await readdir(home).catch(() => []);
  const entries = await Promise.all(
    names.filter((name) => !name.startsWith('.')).map((name) => readListed(join(home, name))),
  );
  return entries.filter((entry) => entry !== undefined);
}

async function readListed(folder: string): Promise<ListedEntry | undefined> {
  try {
    const text = await readText(join(folder, SNAPSHOT_FOLDER, CONFIG_FILE));
    const { disks } = v.parse(DisksOfConfig, JSON.parse(text));
    return { folder, disks: (disks ?? []).map(({ path }) => path) };
  } catch {
    return undefined;
  }
}

/** Starts to build the entry of a key. @returns undefined where another process builds it, or has built it */
export async function buildWarmEntry(key: string, home = warmFolder()): Promise<WarmBuild | undefined> {
  await claimPrivateFolder(home);
  const path = join(home, `${LOCK}${key}`);
  const lock = await lockPath(path, { timeoutMs: 0 });
  if (lock === undefined) return undefined;
  const half = join(home, `${HIDDEN}${randomBytes(6).toString('hex')}`);
  const dispose = async (): Promise<void> => {
    await rm(half, { recursive: true, force: true });
    // a process that opened the file before finds that it is gone, and does not build
    await rm(path, { force: true });
    lock[Symbol.dispose]();
  };
  const place = join(home, key);
  try {
    if (!lock.isAt(path) || lstatSync(place, { throwIfNoEntry: false }) !== undefined) {
      lock[Symbol.dispose]();
      return undefined;
    }
    const snapshot = join(half, SNAPSHOT_FOLDER);
    await mkdir(half, { mode: 0o700 });
    await mkdir(snapshot, { mode: 0o700 });
    return {
      snapshot,
      folder: place,
      publish: async (connection) => {
        await writeFacts(half, connection);
        await rename(half, place);
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function connectionOf({ connection }: WarmFacts): RecordedConnection | undefined {
  if (connection === undefined) return undefined;
  const { cookie, privateKey, received, sent } = connection;
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
  return {
    seed: { cookie: bytes(cookie), privateKey: bytes(privateKey) },
    received: bytes(received),
    sent,
  };
}

function connectionFacts({ seed, received, sent }: RecordedConnection): WarmFacts['connection'] {
  return {
    cookie: seed.cookie.toString('base64'),
    privateKey: seed.privateKey.toString('base64'),
    received: received.toString('base64'),
    sent,
  };
}

async function writeFacts(folder: string, connection: RecordedConnection | undefined): Promise<void> {
  const snapshot = join(folder, SNAPSHOT_FOLDER);
  const sizes = (await readdir(snapshot)).map((name): [string, number] => [
    name,
    checkOwner(join(snapshot, name), 'file').size,
  ]);
  const facts: WarmFacts = {
    version: 2,
    ...(connection !== undefined && { connection: connectionFacts(connection) }),
    files: Object.fromEntries(sizes),
  };
  await writeFile(join(folder, FACTS_FILE), JSON.stringify(facts), { mode: 0o600, flag: 'wx' });
}

/** Removes an entry: its name at once, then its files. */
export async function removeWarmEntry(folder: string): Promise<void> {
  const hidden = join(folder, '..', `${HIDDEN}${randomBytes(6).toString('hex')}`);
  await rename(folder, hidden).catch(() => undefined);
  await rm(hidden, { recursive: true, force: true });
}
