import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from './file-calls.ts';
import { libc } from './libc.ts';
import { allocate, type Block } from './memory.ts';
import { errno } from './system-error.ts';

/*
 * statx(2): the attributes of a file as plain values. The offsets of `struct statx` (linux/stat.h) are the same on x86-64 and
 * arm64.
 */

/** Mask of statx(2): what stat(2) gives. */
export const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;

/** `stx_attributes`: the file is the root of a mount */
const STATX_ATTR_MOUNT_ROOT = 0x2000;

const STATX_BYTES = 256;
const AT = {
  blockSize: 4,
  attributes: 8,
  links: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  inode: 32,
  size: 40,
  blocks: 48,
  accessed: 64,
  created: 80,
  changed: 96,
  modified: 112,
  deviceMajor: 128,
  deviceMinor: 132,
  hostMajor: 136,
  hostMinor: 140,
} as const;

/** A point in time. */
export interface FileTime {
  /** seconds since 1970, negative before */
  readonly seconds: number;
  /** 0 to 999,999,999 */
  readonly nanoseconds: number;
}

/** Attributes of a file. */
export interface FileStatus {
  readonly inode: bigint;
  /** type and permissions, as in `st_mode` */
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  /** number of a device node, as Linux encodes it in 32 bits ({@link deviceNumber}) */
  readonly device: number;
  /** bytes */
  readonly size: number;
  /** blocks of 512 bytes */
  readonly blocks: number;
  /** bytes */
  readonly blockSize: number;
  readonly accessed: FileTime;
  readonly modified: FileTime;
  readonly changed: FileTime;
  /** time at which the file was made, 0 where the file system does not store it */
  readonly created: FileTime;
  /** number of the device that the file system is on, in the same encoding: with `inode` it identifies the file on the host */
  readonly hostDevice: number;
  /** the file is the root of a mount */
  readonly isMountRoot: boolean;
}

/** Memory for one `struct statx`, used again for each call of one thread. */
export class StatusBuffer {
  readonly #block: Block = allocate(STATX_BYTES);
  readonly #empty: Block = allocate(1);

  /** Reads the attributes of an entry, without following a symlink; `name` is the address of one path component. @returns them, or the positive errno */
  ofEntry(directory: number, name: number): FileStatus | number {
    return this.#read(directory, name, AT_SYMLINK_NOFOLLOW);
  }

  /** Reads the attributes of an open file; the descriptor may be an O_PATH one. @returns them, or the positive errno */
  ofDescriptor(fd: number): FileStatus | number {
    return this.#read(fd, this.#empty.address, AT_EMPTY_PATH);
  }

  free(): void {
    this.#block.free();
    this.#empty.free();
  }

  #read(directory: number, name: number, flags: number): FileStatus | number {
    const failed =
      libc().statx(directory, name, flags, STATX_BASIC_STATS | STATX_BTIME, this.#block.address) < 0;
    return failed ? errno() : decodeStatx(this.#block.view);
  }
}

/** Decodes a `struct statx` at the start of a view. */
export function decodeStatx(view: DataView): FileStatus {
  return {
    inode: view.getBigUint64(AT.inode, true),
    mode: view.getUint16(AT.mode, true),
    links: view.getUint32(AT.links, true),
    uid: view.getUint32(AT.uid, true),
    gid: view.getUint32(AT.gid, true),
    device: deviceNumber(view.getUint32(AT.deviceMajor, true), view.getUint32(AT.deviceMinor, true)),
    size: getSafe(view, AT.size),
    blocks: getSafe(view, AT.blocks),
    blockSize: view.getUint32(AT.blockSize, true),
    accessed: timeAt(view, AT.accessed),
    modified: timeAt(view, AT.modified),
    changed: timeAt(view, AT.changed),
    created: timeAt(view, AT.created),
    hostDevice: deviceNumber(view.getUint32(AT.hostMajor, true), view.getUint32(AT.hostMinor, true)),
    isMountRoot: (view.getUint32(AT.attributes, true) & STATX_ATTR_MOUNT_ROOT) !== 0,
  };
}

/** Encodes a device number in 32 bits: 12 of the major, 20 of the minor (`new_encode_dev` of Linux). It is also a `dev_t` of the C library. */
export function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

function timeAt(view: DataView, at: number): FileTime {
  const seconds = view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  return { seconds, nanoseconds: view.getUint32(at + 8, true) };
}

/** Numbers of 64 bits; a file system's are below 2^53 but for faults, which the sum rounds. */
function getSafe(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}
