import { constants } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { listFolder, lstatPath, statPath } from '../../util/path-calls.ts';
import { beforeDeadline } from '../../util/path-deadline.ts';
import { closeInBackground } from '../../util/background.ts';

/**
 * What a snapshot's directory holds. The first three names are a contract: clients copy the directory, link the
 * files and edit the configuration before they restore it.
 */
export const SNAPSHOT_FILES = {
  /** the VM's configuration, as vm.create takes it */
  config: 'config.json',
  /** the devices' state, and where everything is in the machine */
  state: 'state.json',
  /** RAM, one region behind the other; what was never touched is a hole */
  memory: 'memory-ranges',
  /** written last: says that the others are whole */
  manifest: 'manifest.json',
} as const;

export type SnapshotFile = (typeof SNAPSHOT_FILES)[keyof typeof SNAPSHOT_FILES];

/** What the manifest is called until it is whole. */
const UNFINISHED = 'manifest.json.part';

/** A directory that gets a snapshot. Nothing that was there before is ever opened, let alone changed. */
export interface NewSnapshot {
  /** Makes one of the files; the caller closes it. Rejects where one of its name is there. */
  readonly create: (name: SnapshotFile) => Promise<FileHandle>;
  /** Makes one of the files with all its contents. */
  readonly write: (name: SnapshotFile, text: string) => Promise<void>;
  /** Writes the manifest: from now on it is a snapshot. */
  readonly finish: (manifest: string) => Promise<void>;
  /** Takes away what was made. */
  readonly discard: () => Promise<void>;
}

/**
 * Takes a directory for a new snapshot. Rejects where it is none, or where one is in it, whole or not.
 * A durable one outlives a power cut: its files are on the disk before its manifest is, and that before `finish` returns.
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

/** Waits until a file, or a directory's list of names, is on the disk. */
export async function flush(path: string): Promise<void> {
  // O_NONBLOCK: what has the name now may be another file than the one that was made
  await using file = await beforeDeadline(path, () => open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  await file.sync();
}

/** Rejects, with the path and the reason, where there is no directory. */
export async function checkDirectory(folder: string): Promise<void> {
  const found = await statPath(folder).catch((error: unknown) => {
    throw new Error(`${folder}: ${reasonOf(error)}`, { cause: error });
  });
  if (!found.isDirectory()) throw new Error(`${folder}: is not a directory`);
  // one that cannot be listed cannot be written either, and this says so before anything is done
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
