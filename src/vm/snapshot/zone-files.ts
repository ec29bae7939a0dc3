import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import type { MemoryZoneConfig } from '../../devices/memory/config.ts';
import { isFileOf, mappingAt } from '../../host/memory/process-memory.ts';
import type { RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import { reasonOf } from '../../util/errno.ts';
import { statPath } from '../../util/path-calls.ts';
import type { Machine } from '../machine.ts';
import type { SavedRegion } from '../../snapshot-files/memory-layout.ts';

/** A memory zone in a file of the user. */
export interface ZoneFile {
  readonly zone: string;
  readonly path: string;
}

/**
 * Returns the blocks of RAM whose contents are in the file of a shared memory zone, by name. Blocks whose file was replaced by another
 * file at the same path are left out.
 */
export async function zoneFilesOf(
  { ram, qemu }: Machine,
  blocks: readonly RamBlock[],
): Promise<ReadonlyMap<string, ZoneFile>> {
  const found = new Map<string, ZoneFile>();
  for (const { id, backing, zones } of ram.regions) {
    const block = blocks.find(({ name, planned }) => planned && name === id);
    const [zone] = zones;
    if (block === undefined || zone === undefined || backing.file === undefined || !backing.shared) continue;
    const mapping = await mappingAt(qemu.pid, block.address);
    if (mapping.shared && (await isFileOf(mapping, backing.file))) {
      found.set(id, { zone, path: backing.file });
    }
  }
  return found;
}

/** A region whose contents are in the file of a memory zone. */
export interface ZoneRegion {
  readonly region: SavedRegion;
  readonly zone: MemoryZoneConfig & { readonly file: string };
}

/**
 * Returns the regions in files of memory zones, with the paths of the current configuration.
 * Rejects with ApiError naming zone and file if a file cannot hold its region.
 */
export async function zoneRegions(
  { memory }: Pick<VmConfig, 'memory'>,
  regions: readonly SavedRegion[],
): Promise<readonly ZoneRegion[]> {
  const found: ZoneRegion[] = [];
  for (const region of regions) {
    if (region.zone === undefined) continue;
    const zone = zonesOf(memory).find(({ id }) => id === region.zone);
    if (zone?.file === undefined) {
      throw new ApiError('failed', `memory zone ${region.zone}: its RAM is in a file, and it names none`);
    }
    const { file } = zone;
    await checkFile(file, region.length).catch((error: unknown) => {
      throw new ApiError('failed', `memory zone ${zone.id}: ${file}: ${reasonOf(error)}`, { cause: error });
    });
    found.push({ region, zone: { ...zone, file } });
  }
  return found;
}

async function checkFile(path: string, length: number): Promise<void> {
  const found = await statPath(path);
  if (!found.isFile()) throw new Error('is not the file that holds its RAM');
  if (found.size < length) throw new Error(`has ${found.size} bytes, the zone's RAM has ${length}`);
}
