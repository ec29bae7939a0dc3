import { constants } from 'node:fs';
import { mkdir, rmdir, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Amount } from '../host/memory/copy-extents.ts';
import { abortable } from '../util/abortable.ts';
import { codeOf, reasonOf } from '../util/errno.ts';
import { statPath } from '../util/path-calls.ts';
import { composeDisks, disksOf } from './compose-disks.ts';
import { composedState } from './composed-state.ts';
import { composeMemory } from './compose-memory.ts';
import { read, manifestOf } from './manifest.ts';
import { createOpenFiles } from './open-files.ts';
import { isUnchanged, layoutOf, readChain, readSnapshotFiles, type ReadSnapshot } from './read-chain.ts';
import type { MemoryLayout } from './memory-layout.ts';
import type { ChainMember } from './region-source.ts';
import { removeAbandoned } from './remove-abandoned.ts';
import { checkDirectory, claimSnapshotFolder, SNAPSHOT_FILES, type NewSnapshot } from './snapshot-folder.ts';

/** Options of a composition. */
export interface ComposeOptions {
  /** the result survives a power failure when the call resolves */
  readonly durable?: boolean;
  /** progress, updated while RAM is written; blocks that the file system shares are not counted */
  readonly amount?: Amount;
  /** cancels the composition */
  readonly signal?: AbortSignal;
}

/** A snapshot and its bases, as they were read. */
export interface ComposeSource {
  readonly snapshot: ReadSnapshot;
  readonly layout: MemoryLayout;
  readonly chain: readonly ChainMember[];
}

/**
 * Writes a full snapshot with the contents of a snapshot and its bases into another directory, which is created if it is missing. The
 * result needs none of them, and has copies of the snapshot's disks. If it rejects, or is cancelled, the directory is as before.
 * @throws Error naming the snapshot, the base or the file that cannot be used
 */
export async function composeSnapshotFiles(
  from: string,
  to: string,
  {
    durable = false,
    amount = { done: 0, total: 0 },
    signal = new AbortController().signal,
  }: ComposeOptions = {},
): Promise<void> {
  await removeAbandoned(from);
  const source = await readComposeSource(from);
  signal.throwIfAborted();
  const isNew = await makeDirectory(to);
  try {
    if (!isNew) await removeAbandoned(to);
    const folder = await claimSnapshotFolder(to, { durable, signal });
    await writeComposed(source, folder, { amount, signal }).catch(async (error: unknown) => {
      await folder.discard();
      throw error;
    });
  } catch (error) {
    // fails where another program has put a file into it
    if (isNew) await rmdir(to).catch(() => undefined);
    throw error;
  }
}

/** Reads a snapshot and its bases. Rejects with an Error that has the path and the reason. */
export async function readComposeSource(from: string): Promise<ComposeSource> {
  const path = resolve(from);
  await checkDirectory(path);
  const snapshot = await readSnapshotFiles(path);
  const layout = layoutOf(snapshot);
  return { snapshot, layout, chain: await readChain(snapshot, layout) };
}

async function makeDirectory(path: string): Promise<boolean> {
  return mkdir(path).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === 'EEXIST') return false;
      throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
    },
  );
}

interface Composing {
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

async function writeComposed(
  source: ComposeSource,
  folder: NewSnapshot,
  composing: Composing,
): Promise<void> {
  const { snapshot } = source;
  const config = await read(snapshot.folder, SNAPSHOT_FILES.config);
  await folder.write(SNAPSHOT_FILES.config, config);
  const file = await folder.create(SNAPSHOT_FILES.memory);
  // not the end of a write to a slow disk: its file is removed at once
  const facts = await abortable(composing.signal, composeInto(source, file, composing));
  await abortable(composing.signal, composeDisks(snapshot, folder, composing));
  await folder.write(SNAPSHOT_FILES.state, facts.state);
  await folder.finish(facts.manifest, () => composing.signal.throwIfAborted());
}

/** Texts of a composed snapshot. */
export interface ComposedTexts {
  /** contents of `state.json` */
  readonly state: string;
  readonly manifest: string;
}

/** Writes the RAM of a chain into a new file, with the rights of the newest one. @returns the texts that belong to it */
export async function composeInto(
  { snapshot, layout, chain }: ComposeSource,
  file: FileHandle,
  composing: Composing,
): Promise<ComposedTexts> {
  await using files = createOpenFiles();
  await takeRights(snapshot.memoryPath, file);
  const { overlays } = layout;
  const memory = await composeMemory({ chain, overlays }, files, { file, ...composing });
  // after the files were opened: a composition in place may have replaced some
  if (!(await isUnchanged(chain)))
    throw new Error(`${snapshot.folder}: its chain was changed while it was read`);
  const disks = disksOf(snapshot);
  const facts = {
    ...{ engine: snapshot.program, memorySize: memory.size, regions: memory.regions },
    ...(disks.length > 0 && { disks }),
  };
  const state = composedState(snapshot, memory, facts);
  return { state, manifest: manifestOf(state, facts) };
}

/** Gives a file the group and the rights of another one, so that a QEMU of another user can map both. */
async function takeRights(path: string, file: FileHandle): Promise<void> {
  const found = await statPath(path).catch(() => undefined);
  // RAM that is only in the files of memory zones
  if (found === undefined) return;
  const { uid } = await file.stat();
  const { S_IRWXU, S_IRWXG, S_IRWXO } = constants;
  // a group that this user may not set gets no rights
  const isGroupSet = await file.chown(uid, found.gid).then(
    () => true,
    () => false,
  );
  await file.chmod(found.mode & (isGroupSet ? S_IRWXU | S_IRWXG | S_IRWXO : S_IRWXU));
}
