import type { FileHandle } from 'node:fs/promises';
import { sizeOf } from '../../../host/memory/extent-sets.ts';
import type { Extent } from '../../../host/memory/extents.ts';
import { batchesOf, partOf } from '../../../host/memory/extent-sets.ts';
import { ownPages } from '../../../host/memory/own-pages.ts';
import { mappingAt, openMapped } from '../../../host/memory/process-memory.ts';
import { loadLibc } from '../../../native/libc.ts';
import { readProcess, RUNS_MAX, writeProcess } from '../../../native/process-copy.ts';
import { ramBlocks, type RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import type { Machine } from '../../machine.ts';
import type { RamSource } from '../restore-memory.ts';

/** The files with the RAM of a running machine. Disposal closes the VMM's descriptors. */
export interface RamFiles extends AsyncDisposable {
  readonly mapped: readonly RamSource[];
  /** descriptors by the paths in `mapped` */
  readonly fds: ReadonlyMap<string, number>;
  /** blocks that are mapped privately: the twin gets copies of their private pages */
  readonly privately: readonly RamBlock[];
}

/** Opens the files behind the RAM of a machine. Rejects with the name of a block without a file. */
export async function openRamFiles(pid: number, blocks: readonly RamBlock[]): Promise<RamFiles> {
  const files: FileHandle[] = [];
  const mapped: RamSource[] = [];
  const privately: RamBlock[] = [];
  const fds = new Map<string, number>();
  const close = async (): Promise<void> => {
    for (const file of files) await file.close();
  };
  try {
    for (const block of blocks) {
      const { name: id, address, length } = block;
      const mapping = await mappingAt(pid, address);
      if (mapping.inode === 0) throw new Error(`${id}: has no file`);
      const file = await openMapped(pid, mapping, 'r');
      files.push(file);
      const path = `ram ${id}`;
      fds.set(path, file.fd);
      mapped.push({ id, length, path, offset: mapping.offset + (address - mapping.start) });
      if (!mapping.shared) privately.push(block);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { mapped, fds, privately, [Symbol.asyncDispose]: close };
}

/** Copies private pages of a machine's RAM into the twin. */
export interface PageCopy {
  /** Copies all of them, as they are now. @returns the pages, by name of the block */
  readonly copy: () => Promise<ReadonlyMap<string, readonly Extent[]>>;
}

/** Bytes that are copied at a time, and after which other work of the event loop runs. */
const BATCH = { bytes: 1 << 20, runs: RUNS_MAX };
const BATCHES_OF_TURN = 8;

/**
 * Prepares the copies of a machine's private pages. The first copy takes longer than the next one, for which the twin has the pages
 * already.
 */
export async function pageCopies(
  from: Machine['qemu'],
  to: Machine['qemu'],
  { blocks, signal }: { readonly blocks: readonly RamBlock[]; readonly signal: AbortSignal },
): Promise<PageCopy> {
  if (blocks.length === 0) return { copy: async () => new Map() };
  await loadLibc();
  const addresses = new Map((await ramBlocks(to.qmp)).map(({ name, address }) => [name, address]));
  const buffer = Buffer.allocUnsafe(BATCH.bytes);
  const copyBlock = async ({ name, address, length }: RamBlock): Promise<Extent[]> => {
    const target = addresses.get(name);
    if (target === undefined) throw new Error(`the twin has no memory ${name}`);
    const pages = await ownPages(from.pid, address, length);
    let batches = 0;
    for (const batch of batchesOf(pages, BATCH, partOf)) {
      const bytes = buffer.subarray(0, sizeOf(batch));
      readProcess(from.pid, runsAt(address, batch), bytes);
      writeProcess(to.pid, runsAt(target, batch), bytes);
      if (++batches % BATCHES_OF_TURN !== 0) continue;
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    return pages;
  };
  return {
    copy: async () => {
      const copied = new Map<string, readonly Extent[]>();
      for (const block of blocks) copied.set(block.name, await copyBlock(block));
      return copied;
    },
  };
}

function runsAt(address: number, extents: readonly Extent[]) {
  return extents.map(({ offset, length }) => ({ address: address + offset, length }));
}
