import type { FileHandle } from 'node:fs/promises';
import type { Extent } from '../../../host/memory/extents.ts';
import { ownPages } from '../../../host/memory/own-pages.ts';
import { isInMemory, mappingAt, openMapped } from '../../../host/memory/process-memory.ts';
import { libc, loadLibc } from '../../../native/libc.ts';
import { ramBlocks, type RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { abortableAfter } from '../../../util/abortable.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import type { Machine } from '../../machine.ts';
import { ANSWER_MS } from './limit-pause.ts';

const log = createLog('snapshot');

/**
 * Frees the pages of the first QEMU's RAM of which the twin has copies of its own. To be called when no other process has the RAM. Only
 * files in memory that QEMU made are changed, never those of a snapshot or a user. A failure is logged: it costs memory only. After an abort it
 * does not wait for a QEMU that hangs.
 */
export async function releaseOwnPages({ qemu }: Pick<Machine, 'qemu'>, signal: AbortSignal): Promise<void> {
  try {
    await loadLibc();
    const blocks = await abortableAfter(signal, ANSWER_MS, ramBlocks(qemu.qmp));
    for (const block of blocks.filter(({ planned }) => planned)) await releaseBlock(qemu.pid, block);
  } catch (error) {
    log.debug(`RAM of the former QEMU is not released: ${reasonOf(error)}`);
  }
}

async function releaseBlock(pid: number, { address, length }: RamBlock): Promise<void> {
  const mapping = await mappingAt(pid, address);
  if (mapping.shared || mapping.inode === 0) return;
  await using file = await openMapped(pid, mapping, 'r+').catch(() => undefined);
  if (file === undefined || !(await isInMemory(file))) return;
  const base = mapping.offset + (address - mapping.start);
  await punch(file, base, await ownPages(pid, address, length));
}

/** linux/falloc.h: the size of the file stays; the pages become a hole */
const KEEP_SIZE_AND_PUNCH = 0x01 | 0x02;

/** Calls after which other work of the event loop runs. */
const CALLS_OF_TURN = 64;

async function punch({ fd }: FileHandle, base: number, extents: readonly Extent[]): Promise<void> {
  for (const [i, { offset, length }] of extents.entries()) {
    if (libc().fallocate(fd, KEEP_SIZE_AND_PUNCH, base + offset, length) !== 0) return;
    if (i % CALLS_OF_TURN === CALLS_OF_TURN - 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
