import type { MemoryZoneConfig, MemoryConfig } from './config.ts';

/** Id of the zone that `memory.size` makes; NUMA nodes may name it. */
export const SINGLE_ZONE = 'mem0';

/** Returns the RAM as zones: those of the configuration, or the one that `memory.size` makes. */
export function zonesOf(memory: MemoryConfig): readonly MemoryZoneConfig[] {
  const { zones = [], hotplug_method: _method, ...whole } = memory;
  if (zones.length === 0) return [{ id: SINGLE_ZONE, ...whole, file: undefined, host_numa_node: undefined }];
  return zones.map((zone) => ({
    ...zone,
    mergeable: zone.mergeable || whole.mergeable,
    prefault: zone.prefault ?? whole.prefault,
    reserve: zone.reserve ?? whole.reserve,
  }));
}

/** Returns true if QEMU may use transparent huge pages: they can only be disabled for a whole process. */
export function wantsHugePages({ thp, zones = [] }: MemoryConfig): boolean {
  return thp !== false && zones.every((zone) => zone.thp !== false);
}

/** Returns the zones with a virtio-mem device. */
export function growingZones(memory: MemoryConfig): readonly MemoryZoneConfig[] {
  if (memory.hotplug_method !== 'VirtioMem') return [];
  return zonesOf(memory).filter(({ hotplug_size: size }) => size !== undefined);
}

/** Returns the RAM at boot in `bytes`, without the RAM of virtio-mem devices. */
export function bootMemory(memory: MemoryConfig): number {
  return zonesOf(memory).reduce((total, { size }) => total + size, 0);
}

/** Returns the RAM without a balloon in `bytes`: at boot, and the requested size of virtio-mem devices. */
export function plannedMemory(memory: MemoryConfig): number {
  return zonesOf(memory).reduce((total, zone) => total + (zone.hotplugged_size ?? 0), bootMemory(memory));
}

/** Returns the host memory that the zones need, in `bytes`: those with a file or huge pages need none. */
export function takenMemory(memory: MemoryConfig): { readonly total: number; readonly prefaulted: number } {
  const zones = zonesOf(memory).filter(({ file, hugepages }) => file === undefined && !hugepages);
  const sum = (some: readonly MemoryZoneConfig[]): number =>
    some.reduce((total, { size }) => total + size, 0);
  return { total: sum(zones), prefaulted: sum(zones.filter(({ prefault }) => prefault === true)) };
}
