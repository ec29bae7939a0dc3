import { constants } from 'node:fs';
import { open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { openFile } from '../../util/open-file.ts';
import { digestOf, type OpenedFile } from '../files/file-range.ts';
import { claimPrivateFolder } from '../files/private-folder.ts';
import {
  digestInName,
  markUsed,
  readIndex,
  unfinishedName,
  writeIndex,
  type Indexed,
} from './cache-index.ts';
import { sweepCache } from './cache-eviction.ts';
import { TooLargeError } from './unpack-error.ts';
import { unpackWithin, type Unpacking } from './unpacking.ts';

const log = createLog('cache');

/*
 * A cache of unpacked kernels and initramfs archives. The name of an entry has its purpose, the SHA-256 of the packed bytes and that
 * of its own: `kernel-<packed>-<unpacked>`. An index file, named by the packed file's identity, names the entry, so that neither is
 * read as long as the entry has the identity that it had when its bytes were last verified.
 */

/** An open entry, whose bytes have been verified. */
interface Entry {
  readonly name: string;
  readonly file: FileHandle;
}

/**
 * Opens the unpacked form of a file, which is created where it is missing, incomplete or changed. The bytes of the open file
 * have been verified; later changes of its name have no effect.
 * @returns undefined where there is no usable unpacked form
 * @throws UnpackError where it cannot be unpacked; any other error where the folder cannot be used
 */
export async function openCached(
  packed: OpenedFile,
  unpacking: Unpacking,
  folder: string,
): Promise<OpenedFile | undefined> {
  await claimPrivateFolder(folder);
  const index = join(folder, `${unpacking.purpose}-of-${await identityOf(packed.file)}`);
  const indexed = await readIndex(index);
  if (indexed?.entry === undefined) {
    if (indexed !== undefined && unpacking.limit <= indexed.noneWithin) return undefined;
  } else {
    const entry = await openUnchanged(folder, indexed);
    if (entry !== undefined) {
      // another VMM may have removed it meanwhile
      await markUsed(index).catch(() => undefined);
      return withinLimit(entry, unpacking, folder);
    }
  }
  const entry = await findByContent(packed, unpacking, { folder, index });
  return entry === undefined ? undefined : withinLimit(entry, unpacking, folder);
}

/** Returns an entry within the limit: it may have been created for a VM with a higher one. */
async function withinLimit(
  { file, name }: Entry,
  { limit }: Unpacking,
  folder: string,
): Promise<OpenedFile | undefined> {
  if ((await file.stat()).size <= limit) return { file, path: join(folder, name) };
  await file.close();
  return undefined;
}

/** Returns the identity of a file's content: any change of it changes the ctime, which cannot be set back. */
async function identityOf(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].map((one) => one.toString(36)).join('-');
}

/** Opens an entry that has not changed since it was verified. */
async function openUnchanged(
  folder: string,
  { entry, identity }: Extract<Indexed, { entry: string }>,
): Promise<Entry | undefined> {
  const file = await openEntry(folder, entry);
  if (file === undefined) return undefined;
  if ((await identityOf(file)) === identity) return { name: entry, file };
  await file.close();
  return undefined;
}

/** Opens an entry for reading, and no link to one; undefined where that is not possible. */
function openEntry(folder: string, name: string): Promise<FileHandle | undefined> {
  return openFile(join(folder, name), { flags: constants.O_NOFOLLOW }).catch(() => undefined);
}

/** Awaits work on an open file, which is closed where the work fails. */
async function closedOnFailure<T>(file: FileHandle, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    await file.close();
    throw error;
  }
}

type NoEntry = Extract<Indexed, { noneWithin: number }>;

interface Place {
  readonly folder: string;
  /** path of the index that leads to the entry from now on */
  readonly index: string;
}

/** Opens the entry of the same packed bytes, whose own bytes are verified; else creates one. */
async function findByContent(
  packed: OpenedFile,
  unpacking: Unpacking,
  { folder, index }: Place,
): Promise<Entry | undefined> {
  const prefix = `${unpacking.purpose}-${await digestOf(packed)}-`;
  const found = (await openVerified(folder, prefix)) ?? (await create(unpacking, folder, prefix));
  await remember(index, found).catch((error: unknown) => {
    log.info(`${index}: cannot be written, the next boot searches again: ${reasonOf(error)}`);
  });
  if ('noneWithin' in found) return undefined;
  await sweepCache(folder, found.name).catch((error: unknown) => {
    log.info(`${folder}: old files could not be removed: ${reasonOf(error)}`);
  });
  return found;
}

async function remember(index: string, found: Entry | NoEntry): Promise<void> {
  const indexed =
    'noneWithin' in found ? found : { entry: found.name, identity: await identityOf(found.file) };
  await writeIndex(index, indexed);
}

/** Opens an entry whose bytes have the digest in its name; one with another content is removed. */
async function openVerified(folder: string, prefix: string): Promise<Entry | undefined> {
  for (const name of (await readdir(folder)).filter((one) => one.startsWith(prefix))) {
    const file = await openEntry(folder, name);
    if (file !== undefined) {
      const digest = await closedOnFailure(file, digestOf({ file, path: join(folder, name) }));
      if (digest === digestInName(name)) return { name, file };
      await file.close();
    }
    await rm(join(folder, name), { force: true, recursive: true });
  }
  return undefined;
}

/** Creates an entry, which is complete and on the disk before it gets its name; none where the unpacked form cannot be used. */
async function create(unpacking: Unpacking, folder: string, prefix: string): Promise<Entry | NoEntry> {
  const half = join(folder, unfinishedName());
  try {
    await using file = await open(half, NEW_FILE, 0o600);
    const digest = await writeParts(file, unpackWithin(unpacking));
    if (!(await unpacking.isUsable({ file, path: half }))) return { noneWithin: Number.MAX_SAFE_INTEGER };
    await file.sync();
    const name = `${prefix}${digest}`;
    // opened again, for reading only, before another VMM can replace it under its name
    const reading = await openFile(half, { flags: constants.O_NOFOLLOW });
    await closedOnFailure(reading, rename(half, join(folder, name)));
    return { name, file: reading };
  } catch (error) {
    if (error instanceof TooLargeError) return { noneWithin: unpacking.limit };
    throw error;
  } finally {
    await rm(half, { force: true });
  }
}

const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** @returns the SHA-256 of what was written, in hex */
async function writeParts(file: FileHandle, parts: AsyncIterable<Buffer>): Promise<string> {
  // loaded on first use: an ordinary start hashes nothing
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha256');
  for await (const part of parts) {
    hash.update(part);
    await file.writeFile(part);
  }
  return hash.digest('hex');
}
