import { libc } from '../../native/libc.ts';
import { allocate } from '../../native/memory.ts';
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY } from '../../native/open-flags.ts';
import { callError } from '../../native/system-error.ts';
import { descriptorLimit } from '../../util/descriptor-limit.ts';
import { systemError } from '../../util/errno.ts';
import type { FileSystem } from '../fuse/file-system.ts';
import { attributeOperations } from './attribute-operations.ts';
import { takeCredentials } from './credentials.ts';
import { DescriptorPath } from './descriptor-path.ts';
import { DirectoryDescriptors } from './directory-descriptors.ts';
import { directoryOperations } from './directory-operations.ts';
import { BlockPool } from './directory-stream.ts';
import { entryOperations } from './entry-operations.ts';
import { extendedAttributeOperations } from './extended-attribute-operations.ts';
import { fileOperations } from './file-operations.ts';
import { createGuestAttributes } from './guest-attributes.ts';
import { HostStatus } from './host-status.ts';
import { createIdMaps } from './id-map.ts';
import { InodeTable } from './inode-table.ts';
import { KeptDescriptors } from './kept-descriptors.ts';
import { loadState } from './load-state.ts';
import { OpenFiles } from './open-files.ts';
import type { DirectoryOptions } from './options.ts';
import { mappedOwnership } from './mapped-ownership.ts';
import { realOwnership } from './real-ownership.ts';
import { saveState } from './save-state.ts';
import { resetShare, SCRATCH_BYTES, type Share } from './share.ts';
import { shownInodes } from './shown-inodes.ts';

/*
 * The file system of a directory of the host, for a thread of a back-end: synchronous calls of the C library.
 *
 * - `inode-table.ts` the inodes that the guest knows, `link-table.ts` and `name-arena.ts` their names;
 * - `inode-access.ts` reaches an inode on the host: by `directory-descriptors.ts` and its names, by `kept-descriptors.ts` where it has
 *   none, by `open-files.ts`; `descriptor-path.ts` and `host-status.ts` for the calls themselves;
 * - `ownership.ts` owners and modes, with a list of the modules for them;
 * - `entry-operations.ts`, `attribute-operations.ts`, `file-operations.ts`, `directory-operations.ts` and
 *   `extended-attribute-operations.ts` are the methods; `share.ts` is the state that they share.
 *
 * Invariants: nothing outside of the directory is reached: a call on the host takes one component of a name, in the descriptor of a
 * directory, and follows no symlink; an inode is compared with the one that the guest has looked up (device, number, type, time of
 * creation) before it is used. Only regular files and directories are opened: FIFOs, sockets and devices are the guest's own matter.
 * The number of descriptors is bounded whatever the number of inodes.
 *
 * A file system that is mounted below the directory is part of it, but for `/proc`; its files have other inode numbers in the guest than
 * on the host.
 * A directory that a process of the host moves out of the shared directory can be reached while its descriptor is open.
 */

/** A file system of a directory of the host. */
export interface SharedDirectory extends FileSystem {
  /** Closes all descriptors and unmaps all memory; to be called once, and no other method after it. */
  readonly [Symbol.dispose]: () => void;
}

/** Share of the limit of the process that one shared directory may use. */
const SHARE_OF_LIMIT = 2;
/** Most descriptors of directories. */
const MOST_DIRECTORIES = 1024;

/** Opens a directory of the host; `loadLibc` must have settled. @throws the system's error where it cannot be opened */
export function openDirectory(options: DirectoryOptions): SharedDirectory {
  const root = openRoot(options.path);
  try {
    return serveRoot(root, options);
  } catch (error) {
    // descriptors belong to the process, not to the thread that ends
    libc().close(root);
    throw error;
  }
}

/** Makes the file system of an open directory, which it closes when it is disposed of. */
function serveRoot(root: number, options: DirectoryOptions): SharedDirectory {
  const status = new HostStatus();
  const found = status.ofDescriptor(root);
  if (typeof found === 'number') {
    status.free();
    throw systemError('statx', found);
  }
  status.probe(root, found);
  const most = options.descriptors ?? Math.floor(descriptorLimit() / SHARE_OF_LIMIT);
  const highest = highestDescriptor();
  const kept = new KeptDescriptors(Math.floor(most / 4), highest);
  const table = new InodeTable(status.identity(found), (inode) => {
    kept.close(inode);
    directories.close(inode);
  });
  const limit = Math.min(MOST_DIRECTORIES, Math.floor(most / 4));
  const directories = new DirectoryDescriptors({ table, status, root, limit, highest });
  const path = new DescriptorPath();
  return fileSystemOf({
    options,
    table,
    status,
    directories,
    kept,
    files: new OpenFiles(Math.floor(most / 2), highest),
    ...identityOf(options, path),
    path,
    blocks: new BlockPool(),
    scratch: allocate(SCRATCH_BYTES),
    root,
    shownInode: shownInodes(found.hostDevice),
  });
}

/** Returns the highest descriptor of a guest's file: those above it are for the rest of the process. */
function highestDescriptor(): number {
  const limit = descriptorLimit();
  return limit - Math.max(Math.floor(limit / 8), Math.min(256, Math.floor(limit / 2)));
}

/** Returns how owners and extended attributes of the guest are kept, as this thread can. */
function identityOf(
  { uidMap, gidMap }: DirectoryOptions,
  path: DescriptorPath,
): Pick<Share, 'ownership' | 'guestAttributes'> {
  const maps = createIdMaps(uidMap, gidMap);
  const credentials = takeCredentials();
  if (credentials === undefined) {
    const guestAttributes = createGuestAttributes(path, 'user.virtiofs.');
    return { ownership: mappedOwnership(path, maps), guestAttributes };
  }
  const guestAttributes = createGuestAttributes(path, 'trusted.virtiofs.');
  return { ownership: realOwnership(path, maps, credentials), guestAttributes };
}

function openRoot(path: string): number {
  const bytes = Buffer.from(`${path}\0`);
  const block = allocate(bytes.length);
  try {
    bytes.copy(new Uint8Array(block.view.buffer, block.view.byteOffset, bytes.length));
    const root = libc().openat(-100, block.address, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (root < 0) throw callError('open');
    return root;
  } finally {
    block.free();
  }
}

function fileSystemOf(share: Share): SharedDirectory {
  return {
    ...entryOperations(share),
    ...attributeOperations(share),
    ...fileOperations(share),
    ...directoryOperations(share),
    ...extendedAttributeOperations(share),
    forget: (node, count) => share.table.forget(node, count),
    reset: () => resetShare(share),
    save: () => saveState(share),
    load: (state) => loadState(share, state),
    [Symbol.dispose]: () => {
      resetShare(share);
      libc().close(share.root);
      share.blocks.free();
      share.scratch.free();
      share.ownership.free();
      share.guestAttributes.free();
      share.path.free();
      share.status.free();
    },
  };
}
