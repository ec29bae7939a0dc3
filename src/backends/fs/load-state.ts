import { O_EXCL, O_TRUNC } from '../../native/open-flags.ts';
import { DirectoryStream } from './directory-stream.ts';
import { READ_DIRECTORY, reopenFlags } from './file-operations.ts';
import { withDescriptor } from './inode-access.ts';
import { DIRECTORY_TYPE, type Identity, type Inode, REGULAR_TYPE, ROOT_INODE } from './inode-table.ts';
import type { OpenFile } from './open-files.ts';
import { resetShare, type Share } from './share.ts';
import { StateReader } from './state-bytes.ts';
import { checkState } from './state-check.ts';
import { readState, type SavedFile, type SavedInode } from './state-format.ts';
import { restoreUnlinked } from './unlinked-files.ts';

/*
 * Loads the state of a shared directory. There are two cases:
 *
 * - The shared directory is the one of the state (same inode number and time of creation). Each inode must be the same file, which is
 *   checked when it is used: one that is replaced or removed gives ESTALE. Only the number of the device may differ, as it may after the
 *   host has booted again.
 * - It is another directory: a copy on another host, or that of a clone. Then each inode becomes the file of the same path if it has
 *   the same type, at once; else it gives ESTALE.
 *
 * Open files are opened again at once. One that cannot be gives ESTALE, for itself alone. An unlinked file has no path: its content
 * is in the state (`unlinked-files.ts`).
 */

/** Loads a state in place of all inodes and open files. @throws StateError: then nothing has changed */
export function loadState(share: Share, state: Uint8Array): void {
  const { end, files, contents } = checkState(state);
  const { table } = share;
  const root = table.identityOf(ROOT_INODE);
  resetShare(share);
  table.reserve(end);
  let saved = root;
  readState(new StateReader(state), {
    root: (identity) => (saved = identity),
    inode: (inode) =>
      table.restore(inode.identity.device === saved.device ? onDevice(inode, root.device) : inode),
  });
  if (saved.inode !== root.inode || saved.birth !== root.birth) adoptAll(share);
  for (const content of contents) restoreUnlinked(share, content);
  for (const file of files) reopen(share, file);
}

function onDevice(inode: SavedInode, device: number): SavedInode {
  return inode.identity.device === device ? inode : { ...inode, identity: { ...inode.identity, device } };
}

/** Opens a file again under its handle. */
function reopen(share: Share, { handle, inode, flags, isDirectory }: SavedFile): void {
  const hostFlags = isDirectory ? READ_DIRECTORY : reopenFlags(share, flags) & ~(O_TRUNC | O_EXCL);
  const hasType = share.table.identityOf(inode).type === (isDirectory ? DIRECTORY_TYPE : REGULAR_TYPE);
  const fd =
    share.files.isFull || !hasType
      ? -1
      : withDescriptor(share, inode, (path) => ({ opened: share.path.open(path, hostFlags) }));
  const file = { inode, fd: typeof fd === 'number' ? -1 : Math.max(fd.opened, -1), flags, isDirectory };
  share.files.restore(handle, isDirectory ? withStream(share, file) : file);
}

function withStream({ blocks }: Share, file: OpenFile): OpenFile {
  return { ...file, stream: new DirectoryStream(file.fd, blocks) };
}

/** No file of the host: the inode gives ESTALE. */
const NO_FILE = { device: 0xffff_ffff, inode: 0n, birth: 0 } as const;

/** Progress of an inode while identities are adopted; ON_WAY: it is on the way up from another one. */
const [UNSEEN, ON_WAY, FOUND, GONE] = [0, 1, 2, 3];

/**
 * Gives each inode the identity of the file at its path. An inode is looked for only in a directory that was found, so the time does not
 * grow with the depth of a tree of which the top is gone, nor with cycles of links, in which no directory is found.
 */
function adoptAll(share: Share): void {
  const { table } = share;
  const progress = new Uint8Array(table.end);
  progress[ROOT_INODE] = FOUND;
  for (let inode = ROOT_INODE + 1; inode < table.end; inode++) {
    const way: Inode[] = [];
    for (let at = inode; table.has(at) && progress[at] === UNSEEN; at = parentOf(share, at)) {
      progress[at] = ON_WAY;
      way.push(at);
    }
    for (let at = way.pop(); at !== undefined; at = way.pop()) {
      const isReachable = progress[parentOf(share, at)] === FOUND;
      progress[at] = adopt(share, at, isReachable) ? FOUND : GONE;
    }
  }
}

function parentOf({ table }: Share, inode: Inode): Inode {
  const link = table.firstLink(inode);
  return link === 0 ? 0 : table.links.parentOf(link);
}

/** Sets the identity of an inode; `isReachable`: its directory was found. @returns true if the inode was found */
function adopt(share: Share, inode: Inode, isReachable: boolean): boolean {
  const { table } = share;
  const { type } = table.identityOf(inode);
  const identity = isReachable ? findIdentity(share, inode, type) : undefined;
  table.setIdentity(inode, identity ?? { ...NO_FILE, type });
  return identity !== undefined;
}

function findIdentity(
  { table, directories, status }: Share,
  inode: Inode,
  type: number,
): Identity | undefined {
  const link = table.firstLink(inode);
  const directory = link === 0 ? -1 : directories.get(table.links.parentOf(link));
  const found = directory < 0 ? 0 : status.ofEntry(directory, table.links.nameAddress(link));
  if (typeof found === 'number') return undefined;
  const identity = status.identity(found);
  return identity.type === type ? identity : undefined;
}
