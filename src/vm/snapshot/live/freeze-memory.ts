import { readdir, type FileHandle } from 'node:fs/promises';
import { batchesOf, partOf } from '../../../host/memory/extent-sets.ts';
import type { Extent } from '../../../host/memory/extents.ts';
import { ownPages } from '../../../host/memory/own-pages.ts';
import { descriptorsOf, isInMemory, mappingAt, openMapped } from '../../../host/memory/process-memory.ts';
import { loadLibc } from '../../../native/libc.ts';
import { mapShared, unmap } from '../../../native/memory.ts';
import { O_CLOEXEC, O_RDONLY } from '../../../native/open-flags.ts';
import { readProcessTo, RUNS_MAX, writeProcess } from '../../../native/process-copy.ts';
import {
  callInThread,
  remoteThread,
  UnfinishedCallError,
  type RemoteCalls,
  type RemoteThread,
} from '../../../native/thread-calls.ts';
import type { RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { abortable } from '../../../util/abortable.ts';
import { createCleanupStack } from '../../../util/cleanup-stack.ts';
import { reasonOf } from '../../../util/errno.ts';
import type { Machine } from '../../machine.ts';

/*
 * RAM of a machine that is frozen in a file while the machine continues in the same QEMU.
 *
 * QEMU maps the RAM of a booted VM shared from a file in memory. When the vCPUs are stopped, a system call in QEMU replaces this mapping
 * by a private one of the same file at the same addresses. From then on the file keeps its contents, as the kernel copies each page that
 * the guest writes. QEMU's private pages are copied into the file in each pause that follows; QEMU does not notice that, as it has
 * these pages itself.
 *
 * Invariants: only files in memory that QEMU has made are changed. The file of a private mapping is written only where QEMU has
 * a private page.
 */

/** RAM of a running machine that can be frozen. */
export interface Freezer extends AsyncDisposable {
  /** the blocks, at the addresses of this process, where they have the contents of the files */
  readonly blocks: readonly RamBlock[];
  /** Prepares the freeze while the machine runs, which shortens the pause. Rejects when the signal aborts. */
  readonly prepare: (signal: AbortSignal) => Promise<void>;
  /**
   * Copies QEMU's private pages into the files. The vCPUs must be stopped. Rejects when the signal aborts; nothing is copied any more
   * then.
   * @returns the pages, by name of the block
   */
  readonly copyOwnPages: (signal: AbortSignal) => Promise<OwnPages>;
  /** Makes the mappings of QEMU private ones. The vCPUs must be stopped. @throws the system's error; some may be private then */
  readonly freeze: () => void;
  /** reason of `prepare` or `freeze` to fail; undefined where none has, and where the mappings of QEMU may still change */
  readonly failure: () => string | undefined;
}

/** Private pages of QEMU, by name of the block. */
type OwnPages = ReadonlyMap<string, readonly Extent[]>;

/** A block of RAM with its file. */
interface FileBlock {
  readonly block: RamBlock;
  /** address of its first byte in this process */
  readonly address: number;
  /** position of its first byte in the file, in `bytes` */
  readonly offset: number;
  /** numbers of the file's descriptors in QEMU */
  readonly fds: readonly number[];
  readonly isPrivate: boolean;
}

/**
 * Prepares a freeze of a machine's RAM. Rejects with the reason why it is not possible: a block without a file in memory, or a process
 * that may not control QEMU. Disposal removes the mappings of this process.
 */
export async function prepareFreeze(
  { qemu }: Machine,
  blocks: readonly RamBlock[],
  signal: AbortSignal,
): Promise<Freezer> {
  await loadLibc();
  const stack = createCleanupStack();
  try {
    const opened: FileBlock[] = [];
    for (const block of blocks) {
      const found = await mapBlock(qemu.pid, block);
      stack.use(found);
      opened.push(found);
    }
    const threads = await remoteThreads(qemu, signal);
    const failed = createFailure();
    return {
      blocks: opened.map(({ block, address }) => ({ ...block, address })),
      prepare: async (signal) => {
        await copyOwnPages(qemu.pid, opened, signal);
        await unmapPages(opened, signal, (act) => failed.watch(() => callInThread(threads.helper, act)));
      },
      copyOwnPages: (signal) => copyOwnPages(qemu.pid, opened, signal),
      freeze: () => failed.watch(() => mapPrivately(threads.vcpu, opened)),
      failure: failed.reason,
      [Symbol.asyncDispose]: stack[Symbol.asyncDispose],
    };
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    throw error;
  }
}

/** The first failure of system calls in QEMU. */
function createFailure() {
  let reason: string | undefined;
  return {
    reason: () => reason,
    watch: <T>(act: () => T): T => {
      try {
        return act();
      } catch (error) {
        if (!(error instanceof UnfinishedCallError)) reason ??= reasonOf(error);
        throw error;
      }
    },
  };
}

/** Maps the file of a block into this process. Rejects where another program may have the file. */
async function mapBlock(pid: number, block: RamBlock): Promise<FileBlock & AsyncDisposable> {
  const { name, address, length } = block;
  const mapping = await mappingAt(pid, address);
  if (mapping.inode === 0 || mapping.end < address + length)
    throw new Error(`${name}: is not one mapped file`);
  const file = await openMapped(pid, mapping, 'r+');
  try {
    if (!(await isInMemory(file))) throw new Error(`${name}: its file is not in memory`);
    const offset = mapping.offset + (address - mapping.start);
    const bytes = offset + length;
    const start = mapShared(file.fd, bytes);
    return {
      block,
      address: start + offset,
      offset,
      fds: await descriptorsOf(pid, mapping),
      isPrivate: !mapping.shared,
      [Symbol.asyncDispose]: () => release(file, start, bytes),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function release(file: FileHandle, start: number, bytes: number): Promise<void> {
  unmap(start, bytes);
  await file.close();
}

/** Bytes that are copied at a time, and after which other work of the event loop runs. */
const BATCH = { bytes: 4 << 20, runs: RUNS_MAX };

/** Copies the private pages into the files. */
async function copyOwnPages(
  pid: number,
  blocks: readonly FileBlock[],
  signal: AbortSignal,
): Promise<OwnPages> {
  const copied = new Map<string, readonly Extent[]>();
  for (const { block, address, isPrivate } of blocks) {
    const pages = isPrivate ? await ownPages(pid, block.address, block.length) : [];
    for (const batch of batchesOf(pages, BATCH, partOf)) {
      readProcessTo(pid, runsAt(block.address, batch), runsAt(address, batch));
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    copied.set(block.name, pages);
  }
  return copied;
}

function runsAt(address: number, extents: readonly Extent[]) {
  return extents.map(({ offset, length }) => ({ address: address + offset, length }));
}

/** Threads of QEMU for system calls: that of a vCPU, and one that has nothing to do while the vCPUs run. */
interface Threads {
  readonly vcpu: RemoteThread;
  readonly helper: RemoteThread;
}

async function remoteThreads({ qmp, pid }: Machine['qemu'], signal: AbortSignal): Promise<Threads> {
  const vcpus = (await abortable(signal, qmp.execute('query-cpus-fast'))).map((one) => one['thread-id']);
  const others = (await readdir(`/proc/${pid}/task`))
    .map(Number)
    .filter((thread) => thread !== pid && !vcpus.includes(thread));
  const [vcpu, helper] = [vcpus[0], Math.min(...others)];
  if (vcpu === undefined || others.length === 0) throw new Error('QEMU has no thread for the freeze');
  return { vcpu: await remoteThread(pid, vcpu), helper: await remoteThread(pid, helper) };
}

/** System calls of x86-64, which `remoteThread` requires. */
const CALL = { close: 3, mmap: 9, madvise: 28, openat: 257, dup3: 292 } as const;

const AT_FDCWD = -100;
/** PROT_READ | PROT_WRITE */
const READ_WRITE = 3;
/** MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE */
const PRIVATELY = 0x02 | 0x10 | 0x4000;
const MADV_DONTNEED = 4;
/** madvise(2): as QEMU does with its RAM */
const MADV_DONTFORK = 10;

/** Bytes whose pages are removed from QEMU's page tables at a time: a few milliseconds. */
const UNMAPPED_BYTES = 64 << 20;

/**
 * Removes the pages of shared mappings from QEMU's page tables, as the freeze would do in the pause. They stay in the file; the guest
 * gets those that it uses again by a page fault.
 */
async function unmapPages(
  blocks: readonly FileBlock[],
  signal: AbortSignal,
  inThread: (act: (calls: RemoteCalls) => void) => void,
): Promise<void> {
  for (const { block, isPrivate } of blocks) {
    if (isPrivate) continue;
    for (let offset = 0; offset < block.length; offset += UNMAPPED_BYTES) {
      const range = [block.address + offset, Math.min(UNMAPPED_BYTES, block.length - offset)];
      inThread(({ call }) => call('madvise', CALL.madvise, [...range, MADV_DONTNEED]));
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
  }
}

/** Replaces shared mappings by private ones. */
function mapPrivately(thread: RemoteThread, blocks: readonly FileBlock[]): void {
  const shared = blocks.filter(({ isPrivate }) => !isPrivate);
  if (shared.length === 0) return;
  callInThread(thread, (calls) => {
    for (const one of shared) mapBlockPrivately(thread.pid, one, calls);
  });
}

/**
 * Replaces the mapping of a block. QEMU's descriptors become read-only first: then QEMU does not punch holes into the frozen file, and
 * back-ends do not map it (see `GuestMemory`).
 */
function mapBlockPrivately(
  pid: number,
  { block: { address, length }, offset, fds }: FileBlock,
  { call, scratch }: RemoteCalls,
): void {
  const path = Buffer.from(`/proc/self/fd/${fds[0]}\0`);
  writeProcess(pid, [{ address: scratch, length: path.length }], path);
  const readable = call('open', CALL.openat, [AT_FDCWD, scratch, O_RDONLY | O_CLOEXEC]);
  try {
    for (const fd of fds) call('dup3', CALL.dup3, [readable, fd, O_CLOEXEC]);
    call('mmap', CALL.mmap, [address, length, READ_WRITE, PRIVATELY, readable, offset]);
    call('madvise', CALL.madvise, [address, length, MADV_DONTFORK]);
  } finally {
    call('close', CALL.close, [readable]);
  }
}
