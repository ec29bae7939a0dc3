import { libc } from '../../native/libc.ts';
import type { Errno, Handle } from '../fuse/file-system.ts';
import type { DirectoryStream } from './directory-stream.ts';
import { EBADF, ENFILE, ESTALE } from './errors.ts';
import type { Inode } from './inode-table.ts';

/** A file or directory that the guest has open. */
export interface OpenFile {
  readonly inode: Inode;
  /** -1 where the file could not be opened again after a restore: each use gives ESTALE */
  readonly fd: number;
  /** flags of open(2) that the guest sent */
  readonly flags: number;
  readonly isDirectory: boolean;
  /** of a directory */
  readonly stream?: DirectoryStream;
}

/**
 * Open files by their handles, at most `limit`. None has a descriptor above `highest`: the system gives the lowest free number, so the
 * rest of the process can still open files, however many directories are shared.
 */
export class OpenFiles {
  readonly #limit: number;
  readonly #highest: number;
  readonly #files: (OpenFile | undefined)[] = [];
  readonly #free: Handle[] = [];

  constructor(limit: number, highest = Infinity) {
    this.#limit = Math.max(limit, 1);
    this.#highest = highest;
  }

  get count(): number {
    return this.#files.length - this.#free.length;
  }

  get isFull(): boolean {
    return this.count >= this.#limit;
  }

  /** Adds a file, whose descriptor this class closes. @returns its handle, or -ENFILE: then its descriptor is closed */
  add(file: OpenFile): number {
    if (this.isFull || file.fd > this.#highest) {
      close(file);
      return -ENFILE;
    }
    const handle = this.#free.pop() ?? this.#files.length;
    this.#files[handle] = file;
    return handle;
  }

  /**
   * Adds a file under the handle that it had when it was saved; in ascending order, to a table that is empty but for these. A descriptor
   * above `highest` is closed: the file gives ESTALE.
   */
  restore(handle: Handle, file: OpenFile): void {
    for (let vacant = this.#files.length; vacant < handle; vacant++) {
      this.#files[vacant] = undefined;
      this.#free.push(vacant);
    }
    const fits = file.fd <= this.#highest;
    if (!fits) close(file);
    this.#files[handle] = fits ? file : { ...file, fd: -1 };
  }

  /** Returns the open file of a handle, or why it cannot be used. */
  get(inode: Inode, handle: Handle): OpenFile | Errno {
    const file = this.#files[handle];
    if (file === undefined || file.inode !== inode) return EBADF;
    return file.fd < 0 ? ESTALE : file;
  }

  /** Returns the descriptor of a file, or -errno. */
  descriptorOf(inode: Inode, handle: Handle): number {
    const file = this.get(inode, handle);
    return typeof file === 'number' ? -file : file.fd;
  }

  /** Returns a descriptor by which an inode is open, -1 where it is not. */
  findInode(inode: Inode): number {
    return this.#files.find((file) => file?.inode === inode && file.fd >= 0)?.fd ?? -1;
  }

  /** Closes a file. */
  remove(inode: Inode, handle: Handle): void {
    const file = this.#files[handle];
    if (file === undefined || file.inode !== inode) return;
    close(file);
    this.#files[handle] = undefined;
    this.#free.push(handle);
  }

  /** Calls `take` with each open file. */
  each(take: (handle: Handle, file: OpenFile) => void): void {
    for (const [handle, file] of this.#files.entries()) if (file !== undefined) take(handle, file);
  }

  closeAll(): void {
    for (const file of this.#files) if (file !== undefined) close(file);
    this.#files.length = 0;
    this.#free.length = 0;
  }
}

function close({ fd, stream }: OpenFile): void {
  stream?.free();
  if (fd >= 0) libc().close(fd);
}
