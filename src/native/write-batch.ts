import { inBackground } from '../util/background.ts';
import type { BatchCalls } from './batch-calls.ts';
import { loadLibc } from './libc.ts';
import { allocate, putAddress, putNumber, type Block } from './memory.ts';
import { onThread } from './on-thread.ts';
import { callError, EINTR, errno } from './system-error.ts';

/*
 * Writes of many runs of bytes to a file, by one call on a thread of the pool: io_submit(2). A buffered write is complete when the call
 * returns. Without it, each write needs the event loop and another thread.
 *
 * Invariant: the memory of the runs stays mapped, and the descriptor open, until `write` has settled.
 */

/** Bytes at an address of this process, and their place in a file. */
export interface WriteRun {
  readonly address: number;
  /** in `bytes` */
  readonly length: number;
  /** offset in the file, in `bytes` */
  readonly offset: number;
}

/** Writes of many runs. One `write` at a time. */
export interface WriteBatch extends Disposable {
  /**
   * Writes runs one after another.
   * @returns those that are not written completely, e.g. because the disk is full: a write of one of them fails with the reason
   */
  readonly write: (fd: number, runs: readonly WriteRun[]) => Promise<WriteRun[]>;
}

/** Runs of one call. */
export const BATCH_RUNS = 128;

/** `struct iocb` (linux/aio_abi.h): its size in bytes, and offsets of its members. */
const OPERATION_BYTES = 64;
const OPERATION = { data: 0, code: 16, fd: 20, address: 24, length: 32, offset: 40 } as const;
/** IOCB_CMD_PWRITE */
const WRITE = 1;

/** `struct io_event`, likewise. */
const EVENT_BYTES = 32;
const EVENT = { data: 0, result: 16 } as const;

const ADDRESS_BYTES = 8;

/** Places in the memory of a batch. */
const AT = {
  operations: 0,
  pointers: BATCH_RUNS * OPERATION_BYTES,
  events: BATCH_RUNS * (OPERATION_BYTES + ADDRESS_BYTES),
  context: BATCH_RUNS * (OPERATION_BYTES + ADDRESS_BYTES + EVENT_BYTES),
  /** a `struct timespec` of 0 */
  noTime: BATCH_RUNS * (OPERATION_BYTES + ADDRESS_BYTES + EVENT_BYTES) + ADDRESS_BYTES,
  end: BATCH_RUNS * (OPERATION_BYTES + ADDRESS_BYTES + EVENT_BYTES) + 3 * ADDRESS_BYTES,
} as const;

/** Prepares writes. @returns undefined where the kernel or a filter of system calls refuses them */
export async function createWriteBatch(): Promise<WriteBatch | undefined> {
  const { batchCalls } = await loadLibc();
  const calls = batchCalls();
  const block = allocate(AT.end);
  if (calls.io_setup(BATCH_RUNS, block.address + AT.context) !== 0) {
    block.free();
    return undefined;
  }
  const context = Number(block.view.getBigUint64(AT.context, true));
  return {
    write: async (fd, runs) => {
      const unwritten: WriteRun[] = [];
      for (let at = 0; at < runs.length; at += BATCH_RUNS) {
        unwritten.push(...(await submit({ calls, block, context }, fd, runs.slice(at, at + BATCH_RUNS))));
      }
      return unwritten;
    },
    [Symbol.dispose]: () => {
      block.free();
      // the kernel frees it after milliseconds
      inBackground('io_destroy', onThread(calls.io_destroy, context));
    },
  };
}

interface Batch {
  readonly calls: BatchCalls;
  readonly block: Block;
  readonly context: number;
}

/** Writes at most BATCH_RUNS runs. @returns those that are not written completely */
async function submit(batch: Batch, fd: number, runs: readonly WriteRun[]): Promise<WriteRun[]> {
  const { calls, block, context } = batch;
  for (const [i, run] of runs.entries()) putOperation(block, i, { fd, run });
  const result = await onThread(calls.io_submit, context, runs.length, block.address + AT.pointers);
  // the others were not started
  const started = Math.max(0, result);
  const written = new Set<number>();
  for (let ended = 0; ended < started;) {
    const count = await readEvents(batch, started - ended);
    for (let i = 0; i < count; i++) {
      const at = AT.events + i * EVENT_BYTES;
      const index = block.view.getUint32(at + EVENT.data, true);
      if (block.view.getBigInt64(at + EVENT.result, true) === BigInt(runs[index]?.length ?? -1)) {
        written.add(index);
      }
    }
    ended += count;
  }
  return runs.filter((_, i) => !written.has(i));
}

function putOperation({ address, view }: Block, i: number, { fd, run }: { fd: number; run: WriteRun }): void {
  const at = AT.operations + i * OPERATION_BYTES;
  putNumber(view, at + OPERATION.data, i);
  view.setUint16(at + OPERATION.code, WRITE, true);
  view.setUint32(at + OPERATION.fd, fd, true);
  putAddress(view, at + OPERATION.address, run.address);
  putNumber(view, at + OPERATION.length, run.length);
  putNumber(view, at + OPERATION.offset, run.offset);
  putAddress(view, AT.pointers + i * ADDRESS_BYTES, address + at);
}

/** Waits for the end of at least one of `pending` writes. @returns the number of events */
async function readEvents({ calls, block, context }: Batch, pending: number): Promise<number> {
  const { address } = block;
  const now = calls.io_getevents(context, 0, pending, address + AT.events, address + AT.noTime);
  if (now > 0) return now;
  if (now < 0 && errno() !== EINTR) throw callError('io_getevents');
  const later = await onThread(calls.io_getevents, context, 1, pending, address + AT.events, 0);
  return Math.max(0, later);
}
