import { libc } from './libc.ts';
import { onThread } from './on-thread.ts';
import { checked } from './system-error.ts';

/*
 * Memory outside of the JavaScript heap: blocks that the kernel gets the address of, and shared mappings of files. An address may
 * only be used while its block or mapping exists. The code that maps it frees it.
 */

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MADV_DONTNEED = 4;
const MADV_POPULATE_READ = 22;

/** Bytes of `struct iovec`. */
export const VECTOR_BYTES = 16;

/** A block of memory outside of the JavaScript heap. */
export interface Block {
  readonly address: number;
  readonly view: DataView;
  /** Unmaps it: `view` may not be used any more. To be called once. */
  readonly free: () => void;
}

const ZEROS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

/** Allocates a block of zeros, in whole pages. */
export function allocate(bytes: number): Block {
  const address = checked('mmap', libc().mmap(0, bytes, PROT_READ_WRITE, ZEROS, -1, 0));
  return { address, view: viewOf(address, bytes), free: () => unmap(address, bytes) };
}

/** Maps the start of a file shared with other processes. @returns the address */
export function mapShared(fd: number, bytes: number): number {
  return checked('mmap', libc().mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0));
}

/** Makes all of a block zeros again, as a new one has them: it takes no memory. */
export function clear({ address, view }: Block): void {
  checked('mmap', libc().mmap(address, view.byteLength, PROT_READ_WRITE, ZEROS | MAP_FIXED, -1, 0));
}

/** A part of a file, in whole pages. */
interface FilePart {
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Maps a part of a file over the start of a block for reading, with all its pages, on threads of the pool. It replaces the memory there.
 * @returns false where that fails, e.g. before Linux 5.14: the block may be freed, but not read
 */
export async function mapOver({ address }: Block, { fd, offset, length }: FilePart): Promise<boolean> {
  const { mmap, madvise } = libc();
  const flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
  if ((await onThread(mmap, address, length, PROT_READ, flags, fd, offset)) !== address) return false;
  return (await onThread(madvise, address, length, MADV_POPULATE_READ)) === 0;
}

/** Removes a mapping; no view of it may be used any more. */
export function unmap(address: number, bytes: number): void {
  checked('munmap', libc().munmap(address, bytes));
}

/** Releases the pages of a shared mapping: their content stays in the file, and they no longer count as memory of this process. */
export function releasePages(address: number, bytes: number): void {
  libc().madvise(address, bytes, MADV_DONTNEED);
}

/** Returns a view of memory that stays mapped for as long as the view is used. */
export function viewOf(address: number, bytes: number): DataView {
  return new DataView(libc().bytesAt(address, bytes));
}

/** Writes an address into a struct. */
export function putAddress(view: DataView, at: number, address: number): void {
  putNumber(view, at, address);
}

/** Writes an integer as 64 bits, a negative one in two's complement. */
export function putNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Writes an entry of an array of `struct iovec`. */
export function putVector(vectors: DataView, index: number, address: number, length: number): void {
  const at = index * VECTOR_BYTES;
  putAddress(vectors, at, address);
  vectors.setUint32(at + 8, length, true);
  vectors.setUint32(at + 12, 0, true);
}
