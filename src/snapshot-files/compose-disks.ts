import { basename, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as v from 'valibot';
import { copyExtents, type Amount, type CopyEnd } from '../host/memory/copy-extents.ts';
import { dataExtents } from '../host/memory/extents.ts';
import { cloneRange } from '../native/file-clone.ts';
import { few, Name, parseSaved } from '../schema/saved-values.ts';
import { reasonOf } from '../util/errno.ts';
import { openFile } from '../util/open-file.ts';
import type { ReadSnapshot } from './read-chain.ts';
import { SNAPSHOT_FILES, type DiskFile, type NewSnapshot } from './snapshot-folder.ts';
import { parseState } from './state-text.ts';

/** Copy of a disk in a snapshot. */
export interface NamedDisk {
  /** id of the disk */
  readonly id: string;
  readonly file: DiskFile;
}

/** The part of `state.json` that names the copies: images of disks. */
const Images = v.object({
  images: v.optional(few(v.object({ id: Name, copy: v.optional(Name) })), []),
});

/** Returns the copies of disks that are part of a snapshot. @throws Error naming the file of a name that is no copy's */
export function disksOf({ folder, state }: Pick<ReadSnapshot, 'folder' | 'state'>): NamedDisk[] {
  const { images } = parseSaved(Images, parseState(state).members);
  return images.flatMap(({ id, copy: file }) => {
    if (file === undefined) return [];
    if (!isDiskFile(file)) {
      const path = join(folder, SNAPSHOT_FILES.state);
      throw new Error(`${path}: cannot be used: ${JSON.stringify(file)} is no copy of a disk`);
    }
    return [{ id, file }];
  });
}

function isDiskFile(name: string): name is DiskFile {
  return name.startsWith('disk-') && basename(name) === name && !name.includes('\0');
}

/** Bytes of which the extents are listed at a time: the list is short, and the event loop is not blocked for long. */
const PART_BYTES = 64 * 2 ** 20;

interface Composing {
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/**
 * Copies the disks of a snapshot into another one. The copies share the blocks where the file system can; holes stay holes. Rejects with an
 * Error that names the disk and its file.
 */
export async function composeDisks(
  snapshot: Pick<ReadSnapshot, 'folder' | 'state'>,
  to: NewSnapshot,
  composing: Composing,
): Promise<void> {
  for (const { id, file: name } of disksOf(snapshot)) {
    const path = join(snapshot.folder, name);
    await using from = await openFile(path).catch((error: unknown) => {
      throw new Error(`disk ${id}: ${path}: ${reasonOf(error)}`, { cause: error });
    });
    const { size, mode } = await from.stat();
    const target = await to.create(name);
    await target.truncate(size);
    await target.chmod(mode);
    const ends = { from: { file: from, base: 0 }, to: { file: target, base: 0 } };
    const isShared = await cloneRange({ fd: from.fd, offset: 0 }, { fd: target.fd, offset: 0 }, size);
    if (!isShared) await copyDisk(ends, size, composing);
  }
}

async function copyDisk(
  { from, to }: { readonly from: CopyEnd; readonly to: CopyEnd },
  size: number,
  { amount, signal }: Composing,
): Promise<void> {
  for (let offset = 0; offset < size; offset += PART_BYTES) {
    // a file of any size can be one hole, in which no call waits
    await nextTurn();
    signal.throwIfAborted();
    const extents = await dataExtents(from.file.fd, { offset, length: Math.min(PART_BYTES, size - offset) });
    await copyExtents({ from, to, extents, skipZeros: true, amount, signal });
  }
}
