import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import type { Done, Errno } from '../fuse/file-system.ts';
import type { DescriptorPath } from './descriptor-path.ts';
import { doneOf, EACCES, ENODATA, EOPNOTSUPP, EPERM, ERANGE, lastError } from './errors.ts';
import { decodeKept, encodeKept, KEPT_BYTES, type KeptStatus } from './kept-status.ts';

/** XATTR_NAME_MAX and a NUL */
const NAME_BYTES = 256;

/** Errors that mean that a file, or its file system, has no such attribute. */
const NONE: ReadonlySet<Errno> = new Set([ENODATA, EOPNOTSUPP]);
/** Errors of reading that mean the same: the host hides the attribute, or it is longer than any that this program writes. */
const UNREADABLE: ReadonlySet<Errno> = new Set([...NONE, EPERM, EACCES, ERANGE]);

/** The extended attribute of a file that keeps its {@link KeptStatus}. Descriptors may be O_PATH ones. */
export class KeptAttribute {
  readonly #path: DescriptorPath;
  readonly #block: Block = allocate(NAME_BYTES + KEPT_BYTES);
  readonly #bytes: Buffer;

  constructor(path: DescriptorPath, name: string) {
    this.#path = path;
    const { view } = this.#block;
    this.#bytes = Buffer.from(view.buffer, view.byteOffset + NAME_BYTES, KEPT_BYTES);
    Buffer.from(view.buffer, view.byteOffset, NAME_BYTES).write(name);
  }

  /** Returns the status that a file keeps; an empty one where it keeps none. */
  read(fd: number): KeptStatus | Errno {
    const { address } = this.#block;
    return this.#decode(libc().getxattr(this.#path.of(fd), address, address + NAME_BYTES, KEPT_BYTES));
  }

  /** Returns the status that an entry of a directory keeps, without following a symlink. */
  readEntry(directory: number, name: Uint8Array): KeptStatus | Errno {
    const { address } = this.#block;
    const path = this.#path.ofEntry(directory, name);
    return this.#decode(libc().lgetxattr(path, address, address + NAME_BYTES, KEPT_BYTES));
  }

  #decode(length: number): KeptStatus | Errno {
    if (length >= 0) return decodeKept(this.#bytes.toString('latin1', 0, length)) ?? {};
    const error = lastError();
    return UNREADABLE.has(error) ? {} : error;
  }

  /** Keeps a status; EOPNOTSUPP where the file cannot have the attribute. An empty status removes it. */
  write(fd: number, kept: KeptStatus): Done {
    const text = encodeKept(kept);
    if (text === undefined) return this.#remove(fd);
    const { address } = this.#block;
    const length = this.#bytes.write(text, 'latin1');
    const { setxattr } = libc();
    return doneOf(setxattr(this.#path.of(fd), address, address + NAME_BYTES, length, 0));
  }

  #remove(fd: number): Done {
    const error = doneOf(libc().removexattr(this.#path.of(fd), this.#block.address));
    return NONE.has(error) ? 0 : error;
  }

  free(): void {
    this.#block.free();
  }
}
