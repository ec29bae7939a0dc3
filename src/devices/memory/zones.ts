import type { MemoryZoneConfig, MemoryConfig } from './config.ts';

/** Id of the zone that `memory.size` makes; NUMA nodes may name it. */
export const SINGLE_ZONE = 'mem0';

/** The RAM as zones: those of the configuration, or the one that `memory.size` makes. */
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

/** Whether QEMU gets transparent huge pages: they can only be switched off for all of a process. */
export function wantsHugePages({ thp, zones = [] }: MemoryConfig): boolean {
  return thp !== false && zones.every((zone) => zone.thp !== false);
}

/** Zones that grow by a virtio-mem device: one device each. */
export function growingZones(memory: MemoryConfig): readonly MemoryZoneConfig[] {
  if (memory.hotplug_method !== 'VirtioMem') return [];
  return zonesOf(memory).filter(({ hotplug_size: room }) => room !== undefined);
}

/** RAM that the guest starts with in `bytes`, without what virtio-mem devices add. */
export function bootMemory(memory: MemoryConfig): number {
  return zonesOf(memory).reduce((total, { size }) => total + size, 0);
}

/** RAM that is there when no balloon takes any away, in `bytes`: with what virtio-mem devices were asked for. */
export function plannedMemory(memory: MemoryConfig): number {
  return zonesOf(memory).reduce((total, zone) => total + (zone.hotplugged_size ?? 0), bootMemory(memory));
}

/** What the zones take of the host's memory, in `bytes`: those with a file or huge pages take nothing of it. */
export function takenMemory(memory: MemoryConfig): { readonly total: number; readonly prefaulted: number } {
  const zones = zonesOf(memory).filter(({ file, hugepages }) => file === undefined && !hugepages);
  const sum = (some: readonly MemoryZoneConfig[]): number =>
    some.reduce((total, { size }) => total + size, 0);
  return { total: sum(zones), prefaulted: sum(zones.filter(({ prefault }) => prefault === true)) };
}
