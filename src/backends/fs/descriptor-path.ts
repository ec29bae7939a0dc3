import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { errno } from '../../native/system-error.ts';

/** Directory of the links that lead to the open files of this process, whatever their names are now. */
const PREFIX = '/proc/self/fd/';
/** Bytes of the longest path: the digits of a descriptor, a name of an entry and a NUL. */
const PATH_BYTES = PREFIX.length + 11 + 256;
const SLASH = 0x2f;

/** Any value: the directory descriptor of a call whose path starts with `/`. */
const NO_DIRECTORY = -1;

/**
 * Paths in native memory that lead to an open file by its descriptor. A call on such a path acts on exactly that file, which an
 * O_PATH descriptor does not permit by itself: opening, extended attributes, modes.
 */
export class DescriptorPath {
  readonly #block: Block = allocate(PATH_BYTES);

  constructor() {
    for (let i = 0; i < PREFIX.length; i++) this.#block.view.setUint8(i, PREFIX.charCodeAt(i));
  }

  /** Returns the address of the path of a descriptor, valid until the next call. */
  of(fd: number): number {
    const digits = String(fd);
    const { view } = this.#block;
    for (let i = 0; i < digits.length; i++) view.setUint8(PREFIX.length + i, digits.charCodeAt(i));
    view.setUint8(PREFIX.length + digits.length, 0);
    return this.#block.address;
  }

  /** Returns the address of the path of an entry of an open directory, valid until the next call. */
  ofEntry(directory: number, name: Uint8Array): number {
    const address = this.of(directory);
    const { view } = this.#block;
    let at = PREFIX.length + String(directory).length;
    view.setUint8(at++, SLASH);
    for (const byte of name) view.setUint8(at++, byte);
    view.setUint8(at, 0);
    return address;
  }

  /** Opens the file of a descriptor again. O_NOFOLLOW must not be set. @returns the new descriptor, or -errno */
  open(fd: number, flags: number): number {
    const opened = libc().openat(NO_DIRECTORY, this.of(fd), flags, 0);
    return opened < 0 ? -errno() : opened;
  }

  free(): void {
    this.#block.free();
  }
}
