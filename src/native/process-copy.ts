import { libc, loadLibc, type ProcessCopy } from './libc.ts';
import { allocate, putVector, VECTOR_BYTES, type Block } from './memory.ts';
import { callError } from './system-error.ts';

/** Most runs of one call (IOV_MAX). */
export const RUNS_MAX = 1024;

/** A run of bytes at an address of a process. */
export interface AddressRun {
  readonly address: number;
  /** in `bytes` */
  readonly length: number;
}

/**
 * Copies runs of another process's memory into a buffer, one after the other. The call blocks until the bytes are copied.
 * `loadLibc` must have settled; there are at most {@link RUNS_MAX} runs, and the buffer has the sum of their lengths.
 * @throws the system's error, e.g. ESRCH where the process has ended
 */
export function readProcess(pid: number, runs: readonly AddressRun[], into: Uint8Array): void {
  copyRuns('process_vm_readv', libc().process_vm_readv, { pid, runs, bytes: into });
}

/** Copies a buffer into runs of another process's memory, as {@link readProcess} does in the other direction. */
export function writeProcess(pid: number, runs: readonly AddressRun[], from: Uint8Array): void {
  copyRuns('process_vm_writev', libc().process_vm_writev, { pid, runs, bytes: from });
}

/**
 * Copies runs of another process's memory to runs of this process's memory with the same lengths. As {@link readProcess}, without a
 * buffer. There are at most {@link RUNS_MAX} runs.
 */
export function readProcessTo(pid: number, runs: readonly AddressRun[], to: readonly AddressRun[]): void {
  if (runs.length === 0) return;
  targets ??= allocate(RUNS_MAX * VECTOR_BYTES);
  for (const [i, run] of to.entries()) putVector(targets.view, i, run.address, run.length);
  const local = { address: targets.address, count: to.length, bytes: sizeOf(to) };
  copyVectors('process_vm_readv', libc().process_vm_readv, { pid, runs, local });
}

function sizeOf(runs: readonly AddressRun[]): number {
  return runs.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Copies another process's memory from an address on into a buffer, on a thread of the pool.
 * Rejects with the system's error, and where the process has less memory there.
 */
export async function readProcessOnThread(pid: number, address: number, into: Uint8Array): Promise<void> {
  const { process_vm_readv: read, addressOf } = await loadLibc();
  // not from the pool of small Buffers, whose memory others share: the kernel reads it during the call
  const both = Buffer.allocUnsafeSlow(2 * VECTOR_BYTES);
  const view = new DataView(both.buffer);
  putVector(view, 0, addressOf(into), into.length);
  putVector(view, 1, address, into.length);
  const at = addressOf(both);
  await new Promise<void>((resolve, reject) => {
    read.async(pid, at, 1, at + VECTOR_BYTES, 1, 0, (error, copied) => {
      // `both` and `into` are used here, so that their memory is kept until the call has returned
      const wanted = both.length > 0 ? into.length : 0;
      if (error instanceof Error) reject(error);
      else if (typeof copied === 'number' && copied === wanted) resolve();
      else if (copied === -1) reject(callError('process_vm_readv'));
      else reject(new Error(`process_vm_readv: ${String(copied)} of ${wanted} bytes were copied`));
    });
  });
}

interface Copy {
  readonly pid: number;
  readonly runs: readonly AddressRun[];
  readonly bytes: Uint8Array;
}

/** Vectors of the calls of this thread: the first is that of the buffer. */
let vectors: Block | undefined;
/** Vectors of runs of this process. */
let targets: Block | undefined;

function copyRuns(name: string, call: ProcessCopy, { pid, runs, bytes }: Copy): void {
  if (runs.length === 0) return;
  vectors ??= allocate((RUNS_MAX + 1) * VECTOR_BYTES);
  const { address, view } = vectors;
  putVector(view, 0, libc().addressOf(bytes), bytes.length);
  copyVectors(name, call, { pid, runs, local: { address, count: 1, bytes: bytes.length } });
}

interface VectorCopy {
  readonly pid: number;
  readonly runs: readonly AddressRun[];
  /** vectors of this process, and the sum of their lengths */
  readonly local: { readonly address: number; readonly count: number; readonly bytes: number };
}

function copyVectors(name: string, call: ProcessCopy, { pid, runs, local }: VectorCopy): void {
  if (runs.length > RUNS_MAX) throw new Error(`${name}: ${runs.length} runs, ${RUNS_MAX} are possible`);
  vectors ??= allocate((RUNS_MAX + 1) * VECTOR_BYTES);
  const { address, view } = vectors;
  for (const [i, run] of runs.entries()) putVector(view, i + 1, run.address, run.length);
  const copied = call(pid, local.address, local.count, address + VECTOR_BYTES, runs.length, 0);
  if (copied < 0) throw callError(name);
  if (copied !== local.bytes) throw new Error(`${name}: ${copied} of ${local.bytes} bytes were copied`);
}
