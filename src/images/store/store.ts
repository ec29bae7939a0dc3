import { constants } from 'node:fs';
import { lstat, mkdir, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { cacheFolder } from '../../host/files/cache-folder.ts';
import { claimPrivateFolder } from '../../host/files/private-folder.ts';
import { lockPath, type FileLock } from '../../native/file-lock.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { parseDigest } from '../digest.ts';
import { ImageError } from '../image-error.ts';

/*
 * The store of images of one user:
 *
 *   lock                    held shared by each use, exclusively while files are removed
 *   blobs/<alg>/<hex>       manifests and configurations; their digest is verified at each use (blobs.ts)
 *   layers/<alg>/<hex>.squashfs, .json   a layer by its diff id, and its size and time (layers.ts)
 *   names/<hex>.json        a name and a platform refer to a manifest (names.ts); the time of the file is that of its last use
 *   partial/                incomplete downloads and squashfs files, each with a lock (archive-file.ts, layers.ts)
 *
 *   sweep.ts removes files: after the removal of a name, at a prune, and above the limit of the store.
 *
 * Invariants: a file has its final name only when it is complete and its digest is verified. All folders have mode 0700 and belong to
 * the user; no link is followed. A file that is referred to is removed under the exclusive lock only.
 */

/** An open store: its folders exist and are safe. */
export interface Store {
  /** Absolute path */
  readonly directory: string;
  /** Size in `bytes` above which images are removed that no VM uses, the longest unused first */
  readonly limit: number;
}

/** Options of a store. */
export interface StoreOptions {
  /** Absolute path; `images` in the cache of the user by default (NEPHOS_CACHE, `XDG_CACHE_HOME/nephos`) */
  readonly directory?: string;
  /** `bytes`; 20 GiB by default, or that of NEPHOS_IMAGES_LIMIT */
  readonly limit?: number;
}

const DEFAULT_LIMIT = 20 * 2 ** 30;

const FOLDERS = [
  'blobs',
  'blobs/sha256',
  'blobs/sha512',
  'layers',
  'layers/sha256',
  'layers/sha512',
  'names',
  'partial',
] as const;

/** Opens the store of the user, which is created where it is missing. @throws ImageError `store` */
export async function openStore(options: StoreOptions = {}): Promise<Store> {
  const directory = options.directory ?? defaultDirectory();
  const limit = options.limit ?? limitOf(process.env['NEPHOS_IMAGES_LIMIT']);
  try {
    await claimPrivateFolder(directory);
    for (const folder of FOLDERS) await makeFolder(join(directory, folder));
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    const reason = `cannot be used: ${reasonOf(cause)}; set NEPHOS_CACHE to a private directory of your own`;
    throw storeError(directory, reason, cause);
  }
  return { directory, limit };
}

/** Returns the absolute path of the user's store. */
export function defaultDirectory(): string {
  return resolve(cacheFolder(), 'images');
}

function limitOf(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_LIMIT;
  const match = /^(\d+)([KMGT]?)$/.exec(text);
  const bytes = Number(match?.[1]) * 1024 ** ' KMGT'.indexOf(match?.[2] || ' ');
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw storeError('NEPHOS_IMAGES_LIMIT', `is ${JSON.stringify(text)}; write a size such as 20G`);
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    await checkFolder(path);
  }
}

/** The folder above is private: only this user can have made it, with any mode. */
async function checkFolder(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) throw storeError(path, 'is a link or no directory; remove it');
}

/** Makes an error of the store itself. */
export function storeError(path: string, reason: string, cause?: unknown): ImageError {
  return new ImageError('store', path, reason, cause === undefined ? undefined : { cause });
}

/** Marks the store as used until the lock is disposed of: no file is removed meanwhile. */
export async function useStore({ directory }: Store, signal?: AbortSignal): Promise<FileLock> {
  const lock = await lockPath(join(directory, 'lock'), { isShared: true, signal });
  if (lock === undefined) throw storeError(directory, 'is locked by another process');
  return lock;
}

/** Locks the store for the removal of files. @returns undefined while another process uses it */
export function lockStore({ directory }: Store, timeoutMs: number): Promise<FileLock | undefined> {
  return lockPath(join(directory, 'lock'), { timeoutMs });
}

/** Returns the path of a digest in a folder of the store. @throws RangeError for a text that is no digest */
export function digestPath(store: Store, folder: 'blobs' | 'layers', digest: string): string {
  const parts = parseDigest(digest);
  if (parts === undefined) throw new RangeError(`${digest} is not a digest`);
  return join(store.directory, folder, parts.algorithm, parts.hex);
}

/** Flags of each open of a file in the store: no link is followed, no FIFO blocks. */
const SAFE = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens a file of the store for reading. @returns undefined where there is none, or not a regular one of this user: it is then written
 * again
 */
export async function openStored(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | SAFE);
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'ENXIO', 'EACCES'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
  const status = await file.stat();
  if (status.isFile() && status.uid === process.geteuid?.()) return file;
  await file.close();
  return undefined;
}

/** Reads a small file of the store; undefined where it is missing, not safe or larger than `limit` bytes. */
export async function readStored(path: string, limit: number): Promise<Buffer | undefined> {
  await using file = await openStored(path);
  if (file === undefined || (await file.stat()).size > limit) return undefined;
  return await file.readFile();
}

let counter = 0;

/** Writes a small file of the store: it is complete or missing, also after a crash of the host. */
export async function writeStored(store: Store, path: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = join(store.directory, 'partial', `${process.pid}-${counter++}.new`);
  try {
    await using file = await open(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | SAFE,
      0o600,
    );
    await file.writeFile(bytes);
    await file.datasync();
    await rename(temporary, path);
  } catch (error) {
    await removeStored(temporary);
    throw error;
  }
}

/** Removes a file of the store, if it is there. */
export async function removeStored(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
