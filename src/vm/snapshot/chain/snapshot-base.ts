import { resolve } from 'node:path';
import type { Extent } from '../../../host/memory/extents.ts';
import { ownPages } from '../../../host/memory/own-pages.ts';
import type { RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { openAll, type OpenFiles } from '../../../snapshot-files/open-files.ts';
import {
  identityOf,
  isSnapshot,
  isUnchanged,
  layoutOf,
  readChain,
  readSnapshotFiles,
  type BaseSnapshot,
} from '../../../snapshot-files/read-chain.ts';
import { SNAPSHOT_FILES } from '../../../snapshot-files/snapshot-folder.ts';
import {
  pathsOf,
  regionSources,
  runsOf,
  type ChainMember,
  type RegionSource,
} from '../../../snapshot-files/region-source.ts';

/** The snapshot from which the next differential one of a machine differs. */
export interface SnapshotBase extends BaseSnapshot {
  /** the snapshot first, its full one last */
  readonly chain: readonly ChainMember[];
  /** its regions, by id */
  readonly sources: ReadonlyMap<string, RegionSource>;
  /**
   * Private pages at the time of the snapshot, by id of the regions that QEMU maps privately from a file of the chain: its other pages
   * have the contents of the snapshot. Regions without an entry are compared.
   */
  readonly ownPages: ReadonlyMap<string, readonly Extent[]>;
}

/** Returns a snapshot as the base of a machine that was restored from it. `mapped` are the ids of regions that are mapped from its files. */
export function baseOfRestore(
  sha256: string,
  chain: readonly ChainMember[],
  mapped: ReadonlySet<string>,
): SnapshotBase {
  const sources = regionSources(chain);
  const own = sources.filter(({ id }) => mapped.has(id)).map(({ id, newer }) => [id, runsOf(newer)] as const);
  return { ...identityOfBase(sha256, chain), ...withSources(sources), ownPages: new Map(own) };
}

/** Snapshot of which the files are written, but for the manifest. */
export interface NewMember {
  readonly folder: string;
  /** SHA-256 of `state.json`, in hexadecimal */
  readonly sha256: string;
  readonly regions: ChainMember['regions'];
}

/**
 * Returns a snapshot as the base of the machine of which it was made, and which is still paused. `complete` is for the time when it has
 * its manifest.
 */
export async function baseOfSave(
  { folder, sha256, regions }: NewMember,
  base: SnapshotBase | undefined,
  machine: SnapshotSource,
): Promise<{ readonly complete: () => Promise<SnapshotBase> }> {
  const own = machine.known ?? (await ownPagesOf(machine));
  const path = resolve(folder, SNAPSHOT_FILES.memory);
  const member = { folder: resolve(folder), path, regions, identity: '' };
  const older = base?.chain ?? [];
  const sources = withSources(regionSources([member, ...older]));
  return {
    complete: async () => {
      const chain = [{ ...member, identity: await identityOf(folder) }, ...older];
      return { ...identityOfBase(sha256, chain), ...sources, ownPages: own };
    },
  };
}

/** A base whose files are open: it can be read while they are replaced by composed ones. */
export interface OpenBase extends AsyncDisposable {
  readonly sources: SnapshotBase['sources'];
  readonly files: OpenFiles;
}

/** Times that the files of a base are opened again, because they were replaced meanwhile. */
const ATTEMPTS = 3;

/** Opens the files of a base, as they are now. @throws Error naming the snapshot that is missing or was changed */
export async function openBase(base: SnapshotBase): Promise<OpenBase> {
  for (let attempt = 1, current = base; ; attempt++, current = await currentBase(current)) {
    const { sources, chain } = current;
    const files = await openAll(pathsOf([...sources.values()])).catch((error: unknown) => {
      if (attempt === ATTEMPTS) throw error;
      return undefined;
    });
    if (files === undefined) continue;
    if (await isUnchanged(chain)) {
      return { sources, files, [Symbol.asyncDispose]: () => files[Symbol.asyncDispose]() };
    }
    await files[Symbol.asyncDispose]();
    if (attempt === ATTEMPTS) throw new Error(`its base ${base.folder} was changed while it was read`);
  }
}

async function ownPagesOf({ pid, blocks, former }: SnapshotSource): Promise<SnapshotBase['ownPages']> {
  const own = new Map<string, readonly Extent[]>();
  for (const { name, address, length } of blocks) {
    if (former?.ownPages.has(name) === true) own.set(name, await ownPages(pid, address, length));
  }
  return own;
}

/**
 * Returns a base with the files that it has now. They may have been replaced by composed ones with the same contents, in which pages have
 * other places.
 * @throws Error naming the snapshot that is missing or was changed
 */
export async function currentBase(base: SnapshotBase): Promise<SnapshotBase> {
  if (await isUnchanged(base.chain)) return base;
  const read = await readSnapshotFiles(base.folder);
  const layout = layoutOf(read);
  if (!isSnapshot(base.sha256, read, layout)) {
    throw new Error(`its base ${base.folder} is another snapshot now (its checksum differs)`);
  }
  const chain = await readChain(read, layout);
  return { ...base, ...identityOfBase(read.sha256, chain), ...withSources(regionSources(chain)) };
}

/** A machine of which a snapshot was made. */
export interface SnapshotSource {
  readonly pid: number;
  readonly blocks: readonly RamBlock[];
  /** its base before */
  readonly former: SnapshotBase | undefined;
  /** `SnapshotBase.ownPages` of another machine that continues */
  readonly known?: SnapshotBase['ownPages'] | undefined;
}

function identityOfBase(
  sha256: string,
  chain: readonly ChainMember[],
): Pick<SnapshotBase, 'folder' | 'sha256' | 'chain'> {
  return { folder: resolve(chain[0]?.folder ?? ''), sha256, chain };
}

function withSources(sources: readonly RegionSource[]): Pick<SnapshotBase, 'sources'> {
  return { sources: new Map(sources.map((source) => [source.id, source])) };
}
