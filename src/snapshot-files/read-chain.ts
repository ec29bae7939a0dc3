import { join, relative, resolve } from 'node:path';
import { reasonOf } from '../util/errno.ts';
import { lstatPath, resolveLinks, statPath } from '../util/path-calls.ts';
import { readChecked, type Checked } from './manifest.ts';
import { parseMemoryLayout, type MemoryLayout, type SavedBase } from './memory-layout.ts';
import { CHAIN_MAX, type ChainMember } from './region-source.ts';
import { checkDirectory, SNAPSHOT_FILES } from './snapshot-folder.ts';

/** A snapshot as the base of another one. */
export interface BaseSnapshot {
  /** absolute path */
  readonly folder: string;
  /** SHA-256 of `state.json`, in hexadecimal */
  readonly sha256: string;
}

/** Returns the reference to a base in the `state.json` of a snapshot in another folder. */
export async function referenceTo({ folder, sha256 }: BaseSnapshot, from: string): Promise<SavedBase> {
  // a base is not looked for behind a symbolic link
  const [path, own] = [await resolveLinks(folder), await resolveLinks(from)];
  return { path, relativePath: relative(own, path), sha256 };
}

/** Files of a snapshot that were read. */
export interface ReadSnapshot extends Checked {
  readonly folder: string;
  /** identity of the files: see {@link ChainMember} */
  readonly identity: string;
}

/** Reads the files of a snapshot and checks that they are complete and unchanged. Rejects with an Error that has the path and the reason. */
export async function readSnapshotFiles(folder: string): Promise<ReadSnapshot> {
  // before the files: if they are replaced meanwhile, the identity differs
  const identity = await identityOf(folder);
  return { ...(await readChecked(folder)), folder, identity };
}

/** Returns a text that changes when a file of a snapshot is replaced or written; the configuration may be edited. */
export async function identityOf(folder: string): Promise<string> {
  const ofFile = async (name: string): Promise<string> => {
    const found = await statPath(join(folder, name)).catch(() => undefined);
    return found === undefined ? '-' : [found.dev, found.ino, found.size, found.mtimeMs].join(':');
  };
  const { manifest, state, memory } = SNAPSHOT_FILES;
  return (await Promise.all([manifest, state, memory].map(ofFile))).join(' ');
}

/** Returns whether the files of all snapshots of a chain are those that were read. */
export async function isUnchanged(chain: readonly ChainMember[]): Promise<boolean> {
  const now = await Promise.all(chain.map(({ folder }) => identityOf(folder)));
  return chain.every(({ identity }, i) => identity === now[i]);
}

/**
 * Reads the bases of a snapshot.
 * @returns the chain, the snapshot first and the full one last
 * @throws Error naming the base that is missing, was changed, or is one too many
 */
export async function readChain(
  read: Pick<ReadSnapshot, 'folder' | 'memoryPath' | 'identity'>,
  layout: Pick<MemoryLayout, 'base' | 'regions'>,
): Promise<ChainMember[]> {
  const chain = [memberOf(read, layout)];
  let current: { folder: string; base: SavedBase | undefined } = { folder: read.folder, base: layout.base };
  while (current.base !== undefined) {
    if (chain.length === CHAIN_MAX) {
      throw new Error(
        `${read.folder}: has more than ${CHAIN_MAX - 1} snapshots below it: compose a full one`,
      );
    }
    const base = await readBase(current.folder, current.base);
    chain.push(memberOf(base.read, base.layout));
    current = { folder: base.read.folder, base: base.layout.base };
  }
  return chain;
}

function memberOf(
  { folder, memoryPath: path, identity }: Pick<ReadSnapshot, 'folder' | 'memoryPath' | 'identity'>,
  { regions }: Pick<MemoryLayout, 'regions'>,
): ChainMember {
  return { folder, path, identity, regions };
}

/** A base that was read. */
interface ReadBase {
  readonly read: ReadSnapshot;
  readonly layout: MemoryLayout;
}

/** Reads a base: where it was relative to its successor, else at its former path. */
async function readBase(successor: string, { path, relativePath, sha256 }: SavedBase): Promise<ReadBase> {
  const own = await resolveLinks(successor);
  const places = [...new Set([resolve(own, relativePath), resolve(path)])];
  const reasons: unknown[] = [];
  for (const folder of places) {
    try {
      const reading = readSnapshotFiles(folder);
      // an error of the folder is reported first
      reading.catch(() => undefined);
      await checkBaseFolder(folder, own);
      const read = await reading;
      const layout = layoutOf(read);
      if (!isSnapshot(sha256, read, layout)) {
        throw new Error(`${folder}: is another snapshot (its checksum differs)`);
      }
      return { read, layout };
    } catch (error) {
      reasons.push(error);
    }
  }
  const [cause] = reasons;
  const others = reasons.map(reasonOf).join('; ');
  throw new Error(`${successor}: its base cannot be used: ${others}`, { cause });
}

/** Returns the places of RAM in the `state.json` of a snapshot. @throws Error naming the file */
export function layoutOf({ folder, state, memoryBytes }: ReadSnapshot): MemoryLayout {
  try {
    return parseMemoryLayout(state, memoryBytes);
  } catch (error) {
    throw new Error(`${join(folder, SNAPSHOT_FILES.state)}: cannot be used: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** Returns whether a snapshot is the one with a checksum, or was composed from it. */
export function isSnapshot(
  sha256: string,
  read: Pick<ReadSnapshot, 'sha256'>,
  { replaces = [] }: Pick<MemoryLayout, 'replaces'>,
): boolean {
  return read.sha256 === sha256 || replaces.includes(sha256);
}

/**
 * Checks that the folder of a base can be trusted as its successor is: its RAM has no checksum. The path is in a file that any user may
 * have written.
 */
async function checkBaseFolder(folder: string, successor: string): Promise<void> {
  const owner = statPath(successor);
  owner.catch(() => undefined);
  const found = await lstatPath(folder).catch((error: unknown) => {
    throw new Error(`${folder}: ${reasonOf(error)}`, { cause: error });
  });
  if (found.isSymbolicLink())
    throw new Error(`${folder}: is a symbolic link: it must be the directory itself`);
  await checkDirectory(folder);
  const { uid } = await owner;
  const trusted = [0, process.geteuid?.(), uid];
  if (!trusted.includes(found.uid)) {
    throw new Error(`${folder}: belongs to the user ${found.uid}, and ${successor} to the user ${uid}`);
  }
}
