import { constants, type BigIntStats } from 'node:fs';
import { chmod, copyFile, lchown, lstat, readlink, rename, symlink } from 'node:fs/promises';
import { FsError } from '../errors.ts';
import { entryPath, makeNode, setTimes } from './host-calls.ts';
import type { Layers } from './layers.ts';
import { statEntry } from './marks.ts';
import type { OverlayDirectory, OverlayFile } from './nodes.ts';
import { openRegular } from './open-regular.ts';
import { typeOfEntry } from './entry-types.ts';

const PERMISSIONS = 0o7777n;

/** Copies the directories of the lower layer down to one to the upper layer, without their content. */
export async function copyUpDirectory(layers: Layers, directory: OverlayDirectory): Promise<void> {
  const { parent, name, isUpper } = directory;
  if (isUpper || parent === undefined) return;
  await copyUpDirectory(layers, parent);
  const stats = await layers.lowerEntry(parent, name);
  if (stats?.isDirectory() !== true) throw new FsError('ESTALE');
  const work = await layers.makeWork();
  try {
    await copyAttributes(work, stats);
    await layers.upper.use(parent, (fd) => rename(work, entryPath(fd, name)));
    directory.isUpper = true;
  } catch (error) {
    await layers.removeWork(work);
    throw error;
  }
}

/** Copies a file of the lower layer into the work directory. @returns its path */
export async function copyToWork(layers: Layers, file: OverlayFile): Promise<Buffer> {
  const [place] = file.places;
  if (place === undefined) throw new FsError('ESTALE');
  const work = layers.newWorkPath();
  try {
    await layers.lower.use(place.directory, async (fd) => {
      const source = entryPath(fd, place.name);
      const stats = await statEntry(fd, place.name);
      if (stats === undefined || stats.isDirectory()) throw new FsError('ESTALE');
      if (stats.isSymbolicLink()) await symlink(await readlink(source, 'buffer'), work);
      else if (stats.isFile()) await copyContent(source, work);
      else makeNode(work, Number(stats.mode), Number(stats.rdev));
      await copyAttributes(work, stats);
    });
    return work;
  } catch (error) {
    await layers.removeWork(work);
    throw error;
  }
}

/** Copies the content of a file; shares its blocks where the file systems can. */
async function copyContent(source: Buffer, work: Buffer): Promise<void> {
  const { O_RDONLY, COPYFILE_FICLONE, COPYFILE_EXCL } = constants;
  // opened first: the name may be that of a symbolic link by now
  const handle = await openRegular(source, O_RDONLY);
  try {
    await copyFile(`/proc/self/fd/${handle.fd}`, work, COPYFILE_FICLONE | COPYFILE_EXCL);
  } finally {
    await handle.close();
  }
}

/** Gives a new entry the owner, the mode and the times of another one; the owner as far as this user may. */
async function copyAttributes(work: Buffer, stats: BigIntStats): Promise<void> {
  const own = await lstat(work, { bigint: true });
  if (own.uid !== stats.uid || own.gid !== stats.gid)
    await giveTo(work, Number(stats.uid), Number(stats.gid));
  if (typeOfEntry(stats) !== 'symlink') await chmod(work, Number(stats.mode & PERMISSIONS));
  setTimes(work, { accessed: stats.atimeNs, modified: stats.mtimeNs });
}

/** Changes the owner of a new entry. An ordinary user owns what it creates. */
export async function giveTo(path: Buffer, uid: number, gid: number): Promise<void> {
  if (process.geteuid?.() === 0) await lchown(path, uid, gid);
}
