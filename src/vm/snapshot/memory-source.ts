import { join } from 'node:path';
import { SNAPSHOT_FILES } from '../../host/files/snapshot-folder.ts';
import type { PlannedMachine } from '../launch/planned-machine.ts';
import { openMappableFiles, type MappableFiles } from '../machine-state/mappable-files.ts';
import type { Snapshot } from './read-snapshot.ts';
import { mapMemory, withMapped, type MemorySource } from './restore-memory.ts';
import { zoneRegions, type ZoneRegion } from './zone-files.ts';

/** Files that hold the RAM of a snapshot. */
export interface MemoryFiles extends MappableFiles {
  /** path of the snapshot's file with RAM */
  readonly path: string;
  /** regions in files of memory zones */
  readonly zones: readonly ZoneRegion[];
}

/** Opens the files with the RAM of a snapshot. Rejects with ApiError naming the memory zone or the path. */
export async function openMemoryFiles({ folder, config, state }: Snapshot): Promise<MemoryFiles> {
  const path = join(folder, SNAPSHOT_FILES.memory);
  const zones = await zoneRegions(config, state.regions);
  const inSnapshot = state.regions.some(({ zone }) => zone === undefined) ? [path] : [];
  const inZones = zones.flatMap(({ zone }) => (zone.shared ? [] : [zone.file]));
  const files = await openMappableFiles([...inSnapshot, ...inZones]);
  return { ...files, path, zones };
}

/** Decides for the RAM of a planned machine whether it is mapped or copied from the files. */
export function chooseMemorySource(
  { plan, config }: PlannedMachine,
  { state }: Snapshot,
  { path, zones, isMappable }: MemoryFiles,
): MemorySource {
  const from = { memory: config.memory, path, zones, isMappable };
  return { path, overlays: state.overlays, ...mapMemory(plan, state.regions, from) };
}

/** Returns the planned machine with the RAM that is mapped; QEMU inherits its files. */
export function withMemorySource(
  planned: PlannedMachine,
  memory: MemorySource,
  files: MemoryFiles,
): PlannedMachine {
  const { plan } = planned;
  const inherited = new Map([...plan.inherited, ...files.fds]);
  return { ...planned, plan: { ...plan, ...withMapped(plan, memory), inherited } };
}
