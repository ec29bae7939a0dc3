import { type FileStatus, StatusBuffer } from '../../native/file-status.ts';
import { libc } from '../../native/libc.ts';
import { allocate } from '../../native/memory.ts';
import type { Errno } from '../fuse/file-system.ts';
import type { Identity } from './inode-table.ts';

/**
 * File systems whose files keep the time at which they were made. Others report none, or, as overlayfs does when it copies a file
 * up, another one for the same file.
 */
const WITH_BIRTH: ReadonlySet<number> = new Set([
  0xef53, // ext4
  0x5846_5342, // xfs
  0x9123_683e, // btrfs
  0x0102_1994, // tmpfs
]);

/** Bytes of `struct statfs`, of which the first are the type of the file system. */
const STATFS_BYTES = 120;

/** Reads the attributes of files on the host, and which file they are of. */
export class HostStatus {
  readonly #buffer = new StatusBuffer();
  /** device of the shared directory if its file system is in {@link WITH_BIRTH} */
  #deviceWithBirth: number | undefined;

  /** Reads the attributes of an entry without following a symlink. */
  ofEntry(directory: number, name: number): FileStatus | Errno {
    return this.#buffer.ofEntry(directory, name);
  }

  /** Reads the attributes of an open file. */
  ofDescriptor(fd: number): FileStatus | Errno {
    return this.#buffer.ofDescriptor(fd);
  }

  /** Returns which file attributes are of. */
  identity({ hostDevice, inode, mode, created }: FileStatus): Identity {
    const birth =
      hostDevice === this.#deviceWithBirth ? (Math.imul(created.seconds, 31) ^ created.nanoseconds) >>> 0 : 0;
    return { device: hostDevice, inode, birth, type: mode >>> 12 };
  }

  /** Finds out whether files of the shared directory's file system keep the time at which they were made. */
  probe(root: number, { hostDevice }: FileStatus): void {
    const block = allocate(STATFS_BYTES);
    if (libc().fstatfs(root, block.address) === 0 && WITH_BIRTH.has(block.view.getUint32(0, true)))
      this.#deviceWithBirth = hostDevice;
    block.free();
  }

  free(): void {
    this.#buffer.free();
  }
}
