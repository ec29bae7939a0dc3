import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import type { Done } from '../fuse/file-system.ts';
import { lastError } from './errors.ts';

/** Bytes that one getdents64 reads. */
const BLOCK_BYTES = 32_768;

/** Offsets in `struct linux_dirent64`. */
const AT = { inode: 0, next: 8, length: 16, type: 18, name: 19 } as const;

const SEEK_SET = 0;

/** An entry in the block of a stream; valid until the stream moves on. */
export interface HostEntry {
  readonly inode: bigint;
  readonly next: bigint;
  /** type: `st_mode` >> 12; 0: unknown */
  readonly type: number;
  readonly name: Uint8Array;
  /** address of the name that ends with a NUL */
  readonly nameAddress: number;
}

/** Blocks of native memory that the open directories of one file system share. */
export class BlockPool {
  readonly #limit: number;
  /** in order of use, the most recent at the end */
  readonly #inUse = new Map<DirectoryStream, Block>();
  #spare: Block | undefined;

  constructor(limit = 16) {
    this.#limit = limit;
  }

  /** Returns the block of a stream while it has one. */
  peek(stream: DirectoryStream): Block | undefined {
    return this.#inUse.get(stream);
  }

  /** Gives a stream a block; the least recently used stream loses its own where there are too many. */
  take(stream: DirectoryStream): Block {
    const block = this.#inUse.get(stream) ?? this.#spareBlock() ?? allocate(BLOCK_BYTES);
    this.#inUse.delete(stream);
    this.#inUse.set(stream, block);
    return block;
  }

  release(stream: DirectoryStream): void {
    const block = this.#inUse.get(stream);
    if (block === undefined) return;
    this.#inUse.delete(stream);
    if (this.#spare === undefined) this.#spare = block;
    else block.free();
  }

  free(): void {
    for (const block of this.#inUse.values()) block.free();
    this.#inUse.clear();
    this.#spare?.free();
    this.#spare = undefined;
  }

  #spareBlock(): Block | undefined {
    if (this.#inUse.size >= this.#limit) for (const oldest of this.#inUse.keys()) return this.#steal(oldest);
    const spare = this.#spare;
    this.#spare = undefined;
    return spare;
  }

  #steal(stream: DirectoryStream): Block | undefined {
    const block = this.#inUse.get(stream);
    this.#inUse.delete(stream);
    return block;
  }
}

/**
 * Entries of an open directory, read in blocks. Offsets are those of the file system of the host, so a stream holds no state that a
 * restore needs.
 */
export class DirectoryStream {
  readonly #fd: number;
  readonly #pool: BlockPool;
  /** offset of the entry at `#at` */
  #offset = 0n;
  #at = 0;
  #end = 0;

  /** `fd` stays open until after `free`. */
  constructor(fd: number, pool: BlockPool) {
    this.#fd = fd;
    this.#pool = pool;
  }

  /** Calls `take` with the entries from an offset on, until it returns false or there are no more. */
  read(offset: bigint, take: (entry: HostEntry) => boolean): Done {
    let block = this.#pool.peek(this);
    if (block === undefined || offset !== this.#offset) {
      this.#at = this.#end = 0;
      if (libc().lseek64(this.#fd, BigInt.asIntN(64, offset), SEEK_SET) < 0) return lastError();
      this.#offset = offset;
    }
    for (;;) {
      if (block === undefined || this.#at >= this.#end) {
        block = this.#pool.take(this);
        const size = libc().getdents64(this.#fd, block.address, BLOCK_BYTES);
        if (size <= 0) return this.#finish(size);
        this.#at = 0;
        this.#end = size;
      }
      const entry = entryAt(block, this.#at);
      if (!take(entry)) return 0;
      this.#offset = entry.next;
      this.#at += block.view.getUint16(this.#at + AT.length, true);
    }
  }

  free(): void {
    this.#pool.release(this);
  }

  #finish(size: number): Done {
    const error = size < 0 ? lastError() : 0;
    this.#at = this.#end = 0;
    this.#pool.release(this);
    return error;
  }
}

function entryAt({ view, address }: Block, at: number): HostEntry {
  const from = at + AT.name;
  const end = at + view.getUint16(at + AT.length, true);
  let length = 0;
  while (from + length < end && view.getUint8(from + length) !== 0) length++;
  return {
    inode: view.getBigUint64(at + AT.inode, true),
    next: view.getBigInt64(at + AT.next, true),
    type: view.getUint8(at + AT.type),
    name: new Uint8Array(view.buffer, view.byteOffset + from, length),
    nameAddress: address + from,
  };
}
