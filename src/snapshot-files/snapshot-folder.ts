import { constants } from 'node:fs';
import { open as openFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, reasonOf } from '../util/errno.ts';
import { listFolder, lstatPath, statPath } from '../util/path-calls.ts';
import { beforeDeadline } from '../util/path-deadline.ts';
import { abortable } from '../util/abortable.ts';
import { closeRemoved } from '../util/close-file.ts';
import { LOCK_FILE, lockFolder } from './folder-lock.ts';

/*
 * Files of snapshots, without a VM: their formats, their checks, and the chains that differential snapshots form with their bases.
 *
 *   snapshot-folder.ts   names of the files; a directory for a new snapshot
 *   folder-lock.ts       lock of a directory while files are written; remove-abandoned.ts removes those of a killed program
 *   manifest.ts          sizes and checksums: of `manifest.json`, and of the first line of `state.json`
 *   memory-layout.ts     places of RAM in `state.json`: regions, pages, overlays, base
 *   read-chain.ts        reads and checks the bases of a snapshot
 *   region-source.ts     the bytes of a region, as pieces of the files of a chain; read-source.ts and open-files.ts read them
 *
 * Invariants: the manifest is written last, so a directory without it is no complete snapshot. Files of a snapshot are never changed:
 * clones map them privately. The pages of a region lie one after another in `memory-ranges`, in the order of their addresses. The
 * newest snapshot of a chain that has a page decides. A chain has at most CHAIN_MAX snapshots, and ends with a full one.
 */

/**
 * Files of a snapshot's directory. The first three names are a contract: clients copy the directory, link the
 * files and edit the configuration before they restore it.
 */
export const SNAPSHOT_FILES = {
  /** the VM's configuration, as vm.create takes it */
  config: 'config.json',
  /** state of the devices, and the machine description */
  state: 'state.json',
  /** guest RAM: regions in address order; pages never written are holes */
  memory: 'memory-ranges',
  /** written last, when the others are complete */
  manifest: 'manifest.json',
} as const;

export type SnapshotFile = (typeof SNAPSHOT_FILES)[keyof typeof SNAPSHOT_FILES] | DiskFile;

/** Copy of a disk, as it was at a live snapshot. */
export type DiskFile = `disk-${string}`;

/** Name of the manifest until it is complete. */
export const UNFINISHED = 'manifest.json.part';

/** Names of the files that replace those of a differential snapshot in place, until its manifest is replaced: see `compose-in-place.ts`. */
export const COMPOSED_FILES = {
  state: 'state.json.composed',
  memory: 'memory-ranges.composed',
} as const;

/** A directory for a new snapshot. Existing files are never opened. */
export interface NewSnapshot {
  /**
   * Creates one of the files for reading and writing, which is closed when the snapshot is complete or discarded. Rejects where the name exists.
   */
  readonly create: (name: SnapshotFile) => Promise<FileHandle>;
  /** Creates one of the files with its content. */
  readonly write: (name: SnapshotFile, text: string) => Promise<void>;
  /** Writes the manifest, which makes the directory a snapshot. Calls `commit` before its last step, which it may refuse. */
  readonly finish: (manifest: string, commit: () => void) => Promise<void>;
  /**
   * Removes the created files. It does not wait until their space is free, which takes the file system long for a large file.
   */
  readonly discard: () => Promise<void>;
}

/**
 * Opens a directory for a new snapshot. Rejects where it is no directory, or holds files of a snapshot, complete or not.
 * A durable snapshot survives a power failure: its files are on the disk before its manifest, and the manifest before `finish`
 * returns. `signal` aborts the wait for the disk.
 */
export async function claimSnapshotFolder(
  folder: string,
  { durable = false, signal }: SnapshotOptions = {},
): Promise<NewSnapshot> {
  await checkDirectory(folder);
  const taken = await existing(folder, [
    ...Object.values(SNAPSHOT_FILES),
    UNFINISHED,
    ...Object.values(COMPOSED_FILES),
    LOCK_FILE,
  ]);
  if (taken.length > 0) throw new Error(`${folder}: already holds ${taken.join(', ')}`);
  const lock = await lockFolder(folder);
  const made: string[] = [];
  const open: FileHandle[] = [];
  const createOne = async (name: string): Promise<FileHandle> => {
    const file = await lock.create(name);
    made.push(name);
    return file;
  };
  const write = async (name: string, text: string): Promise<void> => {
    await using file = await createOne(name);
    await file.writeFile(text);
  };
  return {
    create: async (name) => {
      const file = await createOne(name);
      open.push(file);
      return file;
    },
    write,
    finish: async (manifest, commit) => {
      for (const file of open.splice(0)) await file.close();
      const names = [...made];
      if (durable) for (const name of names) await flush(join(folder, name), signal);
      await write(UNFINISHED, manifest);
      if (durable) await flush(join(folder, UNFINISHED), signal);
      commit();
      await rename(join(folder, UNFINISHED), join(folder, SNAPSHOT_FILES.manifest));
      if (durable) await flush(folder);
      await lock[Symbol.asyncDispose]();
    },
    discard: async () => {
      for (const name of made) await rm(join(folder, name), { force: true });
      await lock[Symbol.asyncDispose]();
      // after the names: the last close of a file without a name frees its space
      await Promise.all(open.splice(0).map(closeRemoved));
    },
  };
}

/** Options of a new snapshot. */
interface SnapshotOptions {
  readonly durable?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Waits until a file, or the list of names of a directory, is on the disk. `signal` aborts the wait, not the transfer. */
export async function flush(path: string, signal?: AbortSignal): Promise<void> {
  // O_NONBLOCK: another file may have replaced the created one
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const file = await beforeDeadline(path, () => openFile(path, flags));
  const sync = async (): Promise<void> => {
    await using _closing = file;
    await file.sync();
  };
  await (signal === undefined ? sync() : abortable(signal, sync()));
}

/** Rejects with the path and the reason where the directory cannot be used. */
export async function checkDirectory(folder: string): Promise<void> {
  const found = await statPath(folder).catch((error: unknown) => {
    throw new Error(`${folder}: ${reasonOf(error)}`, { cause: error });
  });
  if (!found.isDirectory()) throw new Error(`${folder}: is not a directory`);
  // fails before any work is done: a directory that cannot be listed cannot be written either
  await listFolder(folder).catch((error: unknown) => {
    throw new Error(`${folder}: ${reasonOf(error)}`, { cause: error });
  });
}

async function existing(folder: string, names: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const name of names) {
    const there = await lstatPath(join(folder, name)).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (there !== undefined) found.push(name);
  }
  return found;
}
