import { constants } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { listFolder, lstatPath, statPath } from '../../util/path-calls.ts';
import { beforeDeadline } from '../../util/path-deadline.ts';
import { closeInBackground } from '../../util/background.ts';

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

export type SnapshotFile = (typeof SNAPSHOT_FILES)[keyof typeof SNAPSHOT_FILES];

/** Name of the manifest until it is complete. */
const UNFINISHED = 'manifest.json.part';

/** A directory for a new snapshot. Existing files are never opened. */
export interface NewSnapshot {
  /** Creates one of the files; the caller closes it. Rejects where the name exists. */
  readonly create: (name: SnapshotFile) => Promise<FileHandle>;
  /** Creates one of the files with its content. */
  readonly write: (name: SnapshotFile, text: string) => Promise<void>;
  /** Writes the manifest, which makes the directory a snapshot. */
  readonly finish: (manifest: string) => Promise<void>;
  /** Removes the created files. */
  readonly discard: () => Promise<void>;
}

/**
 * Opens a directory for a new snapshot. Rejects where it is no directory, or holds files of a snapshot, complete or not.
 * A durable snapshot survives a power failure: its files are on the disk before its manifest, and the manifest before `finish`
 * returns.
 */
export async function claimSnapshotFolder(folder: string, { durable = false } = {}): Promise<NewSnapshot> {
  await checkDirectory(folder);
  const taken = await existing(folder, [...Object.values(SNAPSHOT_FILES), UNFINISHED]);
  if (taken.length > 0) throw new Error(`${folder}: already holds ${taken.join(', ')}`);
  const made: string[] = [];
  const create = async (name: string): Promise<FileHandle> => {
    const path = join(folder, name);
    const file = await beforeDeadline(path, () => open(path, 'wx'), { onLate: closeInBackground });
    made.push(name);
    return file;
  };
  const write = async (name: string, text: string): Promise<void> => {
    await using file = await create(name);
    await file.writeFile(text);
  };
  return {
    create,
    write,
    finish: async (manifest) => {
      const names = [...made];
      if (durable) for (const name of names) await flush(join(folder, name));
      await write(UNFINISHED, manifest);
      if (durable) await flush(join(folder, UNFINISHED));
      await rename(join(folder, UNFINISHED), join(folder, SNAPSHOT_FILES.manifest));
      if (durable) await flush(folder);
    },
    discard: async () => {
      for (const name of made) await rm(join(folder, name), { force: true });
    },
  };
}

/** Waits until a file, or the list of names of a directory, is on the disk. */
export async function flush(path: string): Promise<void> {
  // O_NONBLOCK: another file may have replaced the created one
  await using file = await beforeDeadline(path, () => open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  await file.sync();
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
