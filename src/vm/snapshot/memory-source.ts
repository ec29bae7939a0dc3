import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { SNAPSHOT_FILES } from '../../snapshot-files/snapshot-folder.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import type { PlannedMachine } from '../launch/planned-machine.ts';
import { openMappableFiles, type MappableFiles } from '../machine-state/mappable-files.ts';
import { openAll, type OpenFiles } from '../../snapshot-files/open-files.ts';
import { isUnchanged } from '../../snapshot-files/read-chain.ts';
import {
  pathsOf,
  regionSources,
  type ChainMember,
  type RegionSource,
} from '../../snapshot-files/region-source.ts';
import { preloadPages, type NewerPages } from './chain/apply-pages.ts';
import type { Snapshot } from './read-snapshot.ts';
import { mapMemory, withMapped, type MemorySource } from './restore-memory.ts';
import { zoneRegions, type ZoneRegion } from './zone-files.ts';

/** Files that hold the RAM of a snapshot. */
export interface MemoryFiles extends MappableFiles {
  /** path of the snapshot's file with RAM */
  readonly path: string;
  /** regions in files of memory zones */
  readonly zones: readonly ZoneRegion[];
  /** all other regions */
  readonly sources: readonly RegionSource[];
  /** the same files, for reading */
  readonly files: OpenFiles;
  readonly newer: NewerPages;
}

/** A snapshot whose files were replaced by others after they were read. */
export class ReplacedSnapshotError extends Error {
  override readonly name = 'ReplacedSnapshotError';
}

/**
 * Opens the files with the RAM of a snapshot, and begins to read its newer pages. Rejects with ApiError naming the memory zone or the path.
 * @throws ReplacedSnapshotError if the snapshot must be read again
 */
export async function openMemoryFiles({ folder, config, state, chain }: Snapshot): Promise<MemoryFiles> {
  const path = chain[0]?.path ?? join(folder, SNAPSHOT_FILES.memory);
  const zones = await zoneRegions(config, state.regions);
  const sources = sourcesOf(chain);
  const inSnapshot = sources.map(({ whole }) => whole.path);
  const inZones = zones.flatMap(({ zone }) => (zone.shared ? [] : [zone.file]));
  await using opened = createCleanupStack();
  const mappable = opened.use(await openMappableFiles([...inSnapshot, ...inZones]));
  const overlaid = state.overlays.length > 0 ? [path] : [];
  const files = opened.use(await openAll([...pathsOf(sources), ...overlaid]));
  if (!(await isUnchanged(chain)))
    throw new ReplacedSnapshotError(`${folder}: was changed while it was read`);
  const newer = preloadPages(sources, files);
  const { isMappable, fds } = mappable;
  opened.disown();
  return {
    ...{ isMappable, fds, path, zones, sources, files, newer },
    [Symbol.asyncDispose]: async () => {
      await files[Symbol.asyncDispose]();
      await mappable[Symbol.asyncDispose]();
    },
  };
}

function sourcesOf(chain: readonly ChainMember[]): RegionSource[] {
  try {
    return regionSources(chain);
  } catch (error) {
    throw new ApiError('failed', 'The snapshot cannot be restored', { cause: error });
  }
}

/**
 * Decides for the RAM of a planned machine whether it is mapped or copied from the files. `isAccessible`: back-ends of the VMM can access
 * QEMU's memory without mapping it.
 */
export function chooseMemorySource(
  { plan, config }: PlannedMachine,
  { state }: Snapshot,
  { path, zones, sources, files, newer, isMappable }: MemoryFiles,
  isAccessible: boolean,
): MemorySource {
  const from = { memory: config.memory, zones, isMappable, isAccessible };
  return { path, files, overlays: state.overlays, newer, ...mapMemory(plan, sources, from) };
}

/** Returns the planned machine with the RAM that is mapped; QEMU inherits its files. */
export function withMemorySource(
  planned: PlannedMachine,
  memory: Pick<MemorySource, 'mapped' | 'copied'>,
  files: Pick<MemoryFiles, 'fds'>,
): PlannedMachine {
  const { plan } = planned;
  const inherited = new Map([...plan.inherited, ...files.fds]);
  const hugePages = plan.hugePages && !wastesHugePages(planned, memory);
  return { ...planned, plan: { ...plan, ...withMapped(plan, memory), inherited, hugePages } };
}

/**
 * Returns true for an emulated guest whose RAM is a private mapping of files, which never has huge pages. QEMU's own huge pages are those
 * of the ACPI tables and of translated code: 2 MiB each, of which an idle clone uses a small part.
 */
function wastesHugePages(
  { accelerator }: PlannedMachine,
  { mapped, copied }: Pick<MemorySource, 'mapped' | 'copied'>,
): boolean {
  return accelerator.name === 'tcg' && mapped.length > 0 && copied.length === 0;
}
