import { randomBytes } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { lstat, mkdir, open, readdir, realpath, rename, rm, type FileHandle } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { FsError } from '../errors.ts';
import { typeOfEntry } from './entry-types.ts';
import { bytesOf, keyOf, nameOf } from '../names.ts';
import type { FsName, FsType } from '../provider.ts';
import { LayerDirectories } from './directories.ts';
import { entryPath, exchange, lockFile } from './host-calls.ts';
import {
  hasFileWhiteouts,
  isOpaque,
  isWhiteout,
  makeWhiteout,
  makeWorkDirectory,
  statEntry,
} from './marks.ts';
import type { Found, OverlayDirectory } from './nodes.ts';

/** Directory in the upper layer for entries that are not complete; the guest does not see it. */
export const WORK_NAME = '.nephos-work';

/** The two layers of an overlay on the host. No entry outside of them is reached. */
export class Layers implements AsyncDisposable {
  readonly lower: LayerDirectories;
  readonly upper: LayerDirectories;
  readonly #work: FileHandle;
  readonly #workPath: string;

  private constructor({ lower, upper, work, workPath }: LayerFiles) {
    this.lower = lower;
    this.upper = upper;
    this.#work = work;
    this.#workPath = workPath;
  }

  /** Opens the layers and locks the upper one. Rejects with an error that names the path. */
  static async open(lowerPath: string, upperPath: string): Promise<Layers> {
    const [lowerReal, upperReal] = [await realpath(lowerPath), await realpath(upperPath)];
    if (isWithin(lowerReal, upperReal) || isWithin(upperReal, lowerReal))
      throw new Error(`upper ${upperPath}: must be neither in ${lowerPath} nor contain it`);
    const lower = await LayerDirectories.open(lowerPath);
    const upper = await LayerDirectories.open(upperPath).catch((error: unknown) => closeAll([lower], error));
    const workPath = join(upperReal, WORK_NAME);
    const work = await openWork(workPath).catch((error: unknown) => closeAll([lower, upper], error));
    const layers = new Layers({ lower, upper, work, workPath });
    if (lockFile(work.fd)) {
      // of a program that was killed
      for (const name of await readdir(workPath))
        await rm(join(workPath, name), { recursive: true, force: true });
      return layers;
    }
    await work.close();
    return closeAll([lower, upper], new Error(`${upperPath}: is in use by another overlay`));
  }

  /** Returns a path in the work directory that is free. */
  newWorkPath(): Buffer {
    return entryPath(this.#work.fd, randomBytes(12).toString('hex'));
  }

  /** Finds an entry as the guest sees it. */
  async find(directory: OverlayDirectory, name: FsName): Promise<Found | undefined> {
    if (isReserved(directory, name)) return undefined;
    const upper = directory.isUpper ? await this.upperEntry(directory, name) : undefined;
    if (upper === 'whiteout') return undefined;
    const lower = directory.isLower ? await this.lowerEntry(directory, name) : undefined;
    if (upper === undefined) return lower === undefined ? undefined : { layer: 'lower', stats: lower };
    const isMerged = upper.isDirectory() && lower?.isDirectory() === true;
    if (!isMerged || (await this.#isOpaque(directory, name))) return { layer: 'upper', stats: upper };
    return { layer: 'upper', stats: upper, lower };
  }

  upperEntry(directory: OverlayDirectory, name: FsName): Promise<BigIntStats | 'whiteout' | undefined> {
    return this.upper.use(directory, async (fd) => {
      const stats = await statEntry(fd, name);
      return stats !== undefined && isWhiteout(stats, entryPath(fd, name)) ? 'whiteout' : stats;
    });
  }

  lowerEntry(directory: OverlayDirectory, name: FsName): Promise<BigIntStats | undefined> {
    return this.lower.use(directory, (fd) => statEntry(fd, name));
  }

  /** Lists the names that the guest sees, and whether each is a directory of the upper layer. */
  async list(directory: OverlayDirectory): Promise<Map<string, Listed>> {
    const listed = new Map<string, Listed>();
    const hidden = new Set<string>(directory.parent === undefined ? [WORK_NAME] : []);
    if (directory.isUpper)
      await this.upper.use(directory, async (fd) => {
        const mayBeFiles = hasFileWhiteouts(Buffer.from(`/proc/self/fd/${fd}/.`));
        for (const entry of await entriesOf(fd)) {
          const isHidden =
            (entry.type === 'character' || (mayBeFiles && entry.type === 'file')) &&
            (await isHiddenEntry(fd, entry.name));
          if (isHidden) hidden.add(entry.key);
          else if (!hidden.has(entry.key)) listed.set(entry.key, entry);
        }
      });
    if (directory.isLower)
      await this.lower.use(directory, async (fd) => {
        for (const entry of await entriesOf(fd))
          if (!hidden.has(entry.key) && !listed.has(entry.key)) listed.set(entry.key, entry);
      });
    return listed;
  }

  /** Moves an entry to its place in the upper layer, over a file or a whiteout; `from` is its path, which is free after it. */
  async place(from: Buffer, directory: OverlayDirectory, name: FsName): Promise<void> {
    if (isReserved(directory, name)) throw new FsError('EPERM');
    await this.upper.use(directory, async (fd) => {
      const path = entryPath(fd, name);
      const [moved, present] = [await lstat(from), await statEntry(fd, name)];
      if (present === undefined || (!moved.isDirectory() && !present.isDirectory()))
        return rename(from, path);
      exchange(from, path);
      return rm(from, { recursive: true, force: true });
    });
  }

  /** Hides an entry of the lower layer, and removes that of the upper one. */
  async hide(directory: OverlayDirectory, name: FsName): Promise<void> {
    const work = this.newWorkPath();
    await this.upper.use(directory, (fd) => makeWhiteout(work, Buffer.from(`/proc/self/fd/${fd}/.`)));
    await this.place(work, directory, name);
  }

  /** Removes an entry of the upper layer; the content of a directory are whiteouts. */
  async remove(directory: OverlayDirectory, name: FsName): Promise<void> {
    const work = this.newWorkPath();
    await this.upper.use(directory, (fd) => rename(entryPath(fd, name), work));
    await this.removeWork(work);
  }

  async removeWork(work: Buffer): Promise<void> {
    await rm(work.toString('latin1'), { recursive: true, force: true });
  }

  async makeWork(): Promise<Buffer> {
    const work = this.newWorkPath();
    await mkdir(work, 0o700);
    return work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#workPath, { recursive: true, force: true });
    await this.#work.close();
    await this.upper[Symbol.asyncDispose]();
    await this.lower[Symbol.asyncDispose]();
  }

  #isOpaque(directory: OverlayDirectory, name: FsName): Promise<boolean> {
    return this.upper.use(directory, (fd) => isOpaque(entryPath(fd, name)));
  }
}

interface LayerFiles {
  readonly lower: LayerDirectories;
  readonly upper: LayerDirectories;
  readonly work: FileHandle;
  readonly workPath: string;
}

function isReserved({ parent }: OverlayDirectory, name: FsName): boolean {
  return parent === undefined && keyOf(name) === WORK_NAME;
}

async function openWork(path: string): Promise<FileHandle> {
  await makeWorkDirectory(Buffer.from(path));
  const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
  return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/** Closes directories and fails. */
async function closeAll(directories: readonly LayerDirectories[], error: unknown): Promise<never> {
  for (const one of directories) await one[Symbol.asyncDispose]();
  throw error;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === sep ? sep : folder + sep);
}

/** An entry of a directory. */
export interface Listed {
  readonly key: string;
  readonly name: FsName;
  readonly type: FsType;
}

async function entriesOf(fd: number): Promise<Listed[]> {
  const entries = await readdir(`/proc/self/fd/${fd}`, { withFileTypes: true, encoding: 'buffer' });
  return entries.map((entry) => {
    const name = nameOf(bytesOf(entry.name));
    return { key: keyOf(name), name, type: typeOfEntry(entry) };
  });
}

async function isHiddenEntry(fd: number, name: FsName): Promise<boolean> {
  const stats = await statEntry(fd, name);
  return stats !== undefined && isWhiteout(stats, entryPath(fd, name));
}
