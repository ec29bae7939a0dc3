import { rangeOf, type Parts, type Vectors } from './descriptor-chain.ts';
import { allocate, putVector, VECTOR_BYTES, type Block } from '../../native/memory.ts';
import { TRANSFER_BYTES } from './process-memory.ts';

/*
 * Reads and writes of files and sockets with the guest's buffers. Mapped buffers are used by the call itself. Buffers in another process
 * need a copy: a write gets it before, a read is copied afterwards, and both are limited to a part of the buffers. A caller handles a
 * short count anyway.
 */

/** Vector of the copy, in each thread. */
let copy: Block | undefined;

function copyAt(address: number, bytes: number): Vectors {
  copy ??= allocate(VECTOR_BYTES);
  putVector(copy.view, 0, address, bytes);
  return { vectors: copy.address, count: 1 };
}

/** Returns vectors for a call that writes bytes of the buffers from an offset on, or fewer. @throws MemoryError */
export function toWrite(from: Parts, offset: number, bytes: number): Vectors {
  const { process } = from;
  if (process === undefined) return rangeOf(from, offset, bytes);
  const length = Math.min(bytes, TRANSFER_BYTES);
  from.copyOut(process.staging, length, offset);
  return copyAt(process.staging, length);
}

/** Returns vectors for a call that reads into the buffers from an offset on, or into fewer. {@link haveRead} must follow at once. */
export function toRead(into: Parts, offset: number, bytes: number): Vectors {
  const { process } = into;
  if (process === undefined) return rangeOf(into, offset, bytes);
  const length = Math.min(bytes, TRANSFER_BYTES);
  return copyAt(process.reserve(length, into.count), length);
}

/** Completes a read of so many bytes into the vectors of {@link toRead}. */
export function haveRead(into: Parts, offset: number, bytes: number): void {
  const { process } = into;
  if (process !== undefined) into.each(offset, bytes, (address, length) => process.push(address, length));
}
