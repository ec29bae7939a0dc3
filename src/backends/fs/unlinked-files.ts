import { fchmodSync, fchownSync, ftruncateSync, futimesSync, readSync, writeSync } from 'node:fs';
import type { FileStatus } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import { O_CLOEXEC, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR } from '../../native/open-flags.ts';
import { type Inode, REGULAR_TYPE, ROOT_INODE } from './inode-table.ts';
import type { Share } from './share.ts';
import type { SavedContent } from './state-format.ts';

/*
 * Files that are unlinked and that the guest still uses: temporary files, libraries that an upgrade has replaced. No path leads to
 * them, so their content is part of the state, up to a bound. The restore puts it into a new file of the shared directory that has no
 * name either, or into memory if the directory is readonly then.
 */

/** Most bytes of all such files. */
const MOST_BYTES = 32 * 2 ** 20;
/** Permission bits that are restored: without names, set-user-ID has no use. */
const PERMISSIONS = 0o1777;
/** open(2): a file without a name in a directory; O_EXCL: it never gets one */
const O_TMPFILE = 0o20_000_000 | O_DIRECTORY;
/** Flag of memfd_create(2). */
const MFD_CLOEXEC = 1;

/** Calls `take` with the files that are unlinked and in use, as far as they can be read and are not too large. */
export function eachUnlinked(share: Share, take: (content: SavedContent) => void): void {
  const { table, kept, files } = share;
  let left = MOST_BYTES;
  for (const inode of inodesWithoutName(share)) {
    const fd = kept.get(inode) < 0 ? files.findInode(inode) : kept.get(inode);
    const status = fd < 0 ? 0 : share.status.ofDescriptor(fd);
    if (typeof status === 'number' || status.links > 0 || status.size > left) continue;
    if (!table.isSame(inode, share.status.identity(status))) continue;
    const bytes = readAll(share, fd, status.size);
    if (bytes === undefined) continue;
    left -= bytes.length;
    take({ ...ownerOf(status), inode, bytes });
  }
}

function inodesWithoutName({ table, kept, files }: Share): Inode[] {
  const inodes = new Set<Inode>(kept.inodes());
  files.each((_handle, { inode }) => inodes.add(inode));
  return [...inodes]
    .filter(
      (inode) =>
        table.has(inode) && table.firstLink(inode) === 0 && table.identityOf(inode).type === REGULAR_TYPE,
    )
    .toSorted((a, b) => a - b);
}

function ownerOf({ mode, uid, gid, modified }: FileStatus): Omit<SavedContent, 'inode' | 'bytes'> {
  return { mode: mode & PERMISSIONS, uid, gid, modified: modified.seconds + modified.nanoseconds / 1e9 };
}

function readAll({ path }: Share, from: number, size: number): Uint8Array | undefined {
  const fd = path.open(from, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return undefined;
  try {
    const bytes = new Uint8Array(size);
    let done = 0;
    for (let count = 1; count > 0 && done < size; done += count)
      count = readSync(fd, bytes, done, size - done, done);
    return bytes;
  } catch {
    // as a file that is too large: ESTALE after the restore
    return undefined;
  } finally {
    libc().close(fd);
  }
}

/** Makes a file without a name of a content that was saved. Where that fails, the inode gives ESTALE. */
export function restoreUnlinked(share: Share, content: SavedContent): void {
  const fd = createNameless(share);
  if (fd < 0) return;
  const status = fill(fd, content) ? share.status.ofDescriptor(fd) : 0;
  if (typeof status === 'number') {
    libc().close(fd);
    return;
  }
  share.table.setIdentity(content.inode, share.status.identity(status));
  share.kept.put(content.inode, fd);
}

/** Creates a file: in the shared directory, or in memory for a readonly one, where the guest cannot extend it. @returns its descriptor */
function createNameless({ options, path, directories }: Share): number {
  if (options.readonly === true) return libc().memfd_create('unlinked', MFD_CLOEXEC);
  return path.open(directories.get(ROOT_INODE), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC);
}

function fill(fd: number, { bytes, mode, uid, gid, modified }: SavedContent): boolean {
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, done);
    ftruncateSync(fd, bytes.length);
    if (process.geteuid?.() === 0) fchownSync(fd, uid, gid);
    fchmodSync(fd, mode & PERMISSIONS);
    futimesSync(fd, modified, modified);
    return true;
  } catch {
    return false;
  }
}
