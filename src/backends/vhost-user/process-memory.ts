import { libc } from '../../native/libc.ts';
import { allocate, putVector, releasePages, VECTOR_BYTES, type Block } from '../../native/memory.ts';
import { RUNS_MAX } from '../../native/process-copy.ts';
import { hasExited, openPidfd } from '../../native/pidfd.ts';
import { callError } from '../../native/system-error.ts';
import { MemoryError } from './queue-error.ts';

/** Most bytes of one transfer between a file or socket and guest memory; the largest READ of a Linux guest has as many. */
export const TRANSFER_BYTES = 2 ** 20;

/** Bytes that are queued for one call: a transfer, and the headers and rings around it. */
const QUEUE_BYTES = TRANSFER_BYTES + 64 * 1024;

/** Longest time that the process is believed to run without a check, in `ms`: no ID is used again as soon. */
const CHECK_MS = 2;

/*
 * Guest memory that this process cannot map: QEMU maps a snapshot privately, so that only QEMU's own pages have the guest's writes. It is
 * copied by process_vm_readv and process_vm_writev, at QEMU's addresses.
 *
 * Writes are queued in their order, and one call makes them all. Nothing may depend on a write before `flush`.
 *
 * Order: a call copies its vectors one after another, and pins the pages of each one before and releases them after its copy. Both are
 * fully ordered atomic operations of the kernel, on all architectures. So a read index is older than the entries that a later vector
 * reads, an index is written after its entries, and a read follows each earlier flush.
 *
 * Width: the kernel copies 8 aligned bytes as one unit. A 16-bit number may be torn in a read (`process-ring.ts`).
 *
 * The process may exit at any time, and its ID may become that of another one while a call of the host hangs: so it is checked by its
 * descriptor.
 */

/** Memory of a process, at its own addresses. */
export class ProcessMemory {
  readonly pid: number;
  readonly #pidfd: number;
  /** bytes of queued writes, in order */
  readonly #queue: Block = allocate(QUEUE_BYTES);
  /** the vector of this process, and those of the queue in the other one */
  readonly #vectors: Block = allocate((1 + RUNS_MAX) * VECTOR_BYTES);
  readonly #local: Block = allocate(VECTOR_BYTES);
  #staging: Block | undefined;
  #queued = 0;
  #count = 0;
  #checkedAt = 0;
  #failure: MemoryError | undefined;

  /** @throws MemoryError where the process has exited */
  constructor(pid: number) {
    this.pid = pid;
    try {
      this.#pidfd = openPidfd(pid);
    } catch (error) {
      throw new MemoryError(`process ${pid}`, { cause: error });
    }
  }

  /**
   * Copies bytes of the process to an address of this one. `vectors` is the address of an array of `count` `struct iovec` with at least so
   * many bytes. @throws MemoryError where that is not possible
   */
  read(
    to: number,
    bytes: number,
    { vectors, count }: { readonly vectors: number; readonly count: number },
  ): void {
    this.#check();
    putVector(this.#local.view, 0, to, bytes);
    const copied = libc().process_vm_readv(this.pid, this.#local.address, 1, vectors, count, 0);
    if (copied !== bytes) throw this.#fail(copied, bytes);
  }

  /** Queues a copy of bytes of this process. */
  write(address: number, from: number, bytes: number): void {
    for (let done = 0; done < bytes;) {
      if (this.#queued === QUEUE_BYTES || this.#count === RUNS_MAX) this.flush();
      const length = Math.min(bytes - done, QUEUE_BYTES - this.#queued);
      libc().memcpy(this.#queue.address + this.#queued, from + done, length);
      this.push(address + done, length);
      done += length;
    }
  }

  /** Makes space at the end of the queue, of at most {@link TRANSFER_BYTES} in `count` parts. @returns its address in this process */
  reserve(bytes: number, count: number): number {
    if (this.#queued + bytes > QUEUE_BYTES || this.#count + count > RUNS_MAX) this.flush();
    return this.#queue.address + this.#queued;
  }

  /** Queues the next bytes of the reserved space. */
  push(address: number, bytes: number): void {
    putVector(this.#vectors.view, 1 + this.#count++, address, bytes);
    this.#queued += bytes;
  }

  /** Makes all queued writes. @returns false where that is not possible: the next read throws the reason */
  flush(): boolean {
    if (this.#count === 0) return this.#failure === undefined;
    const { address, view } = this.#vectors;
    const [bytes, count] = [this.#queued, this.#count];
    this.#queued = 0;
    this.#count = 0;
    try {
      this.#check();
    } catch {
      return false;
    }
    putVector(view, 0, this.#queue.address, bytes);
    const copied = libc().process_vm_writev(this.pid, address, 1, address + VECTOR_BYTES, count, 0);
    if (copied === bytes) return true;
    this.#fail(copied, bytes);
    return false;
  }

  /** address of {@link TRANSFER_BYTES} in this process, which the next transfer uses as well */
  get staging(): number {
    this.#staging ??= allocate(TRANSFER_BYTES);
    return this.#staging.address;
  }

  /** Releases pages of this process that hold no queued bytes. */
  releasePages(): void {
    if (this.#staging !== undefined) releasePages(this.#staging.address, TRANSFER_BYTES);
    if (this.#count === 0) releasePages(this.#queue.address, QUEUE_BYTES);
  }

  [Symbol.dispose](): void {
    for (const block of [this.#queue, this.#vectors, this.#local, this.#staging]) block?.free();
    libc().close(this.#pidfd);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    const now = performance.now();
    if (now - this.#checkedAt < CHECK_MS) return;
    this.#checkedAt = now;
    if (!hasExited(this.#pidfd)) return;
    this.#failure = new MemoryError(`process ${this.pid} has exited`);
    throw this.#failure;
  }

  #fail(copied: number, bytes: number): MemoryError {
    const cause = copied < 0 ? callError('process_vm') : new Error(`${copied} of ${bytes} bytes were copied`);
    this.#failure = new MemoryError(`process ${this.pid}: ${cause.message}`, { cause });
    return this.#failure;
  }
}
