import type { VmConfig } from '../config/vm-config.ts';
import type { MemoryPlan } from '../devices/common/machine-plan.ts';
import { bootMemory, growingZones } from '../devices/memory/zones.ts';
import {
  DIMMS_MAX,
  MEMORY_BLOCK,
  type MemoryConfig,
  type MemoryZoneConfig,
} from '../devices/memory/config.ts';
import type { RamRegion } from '../devices/memory/plan.ts';
import { virtioMem } from '../devices/virtio-mem/index.ts';
import { virtioMemRegion } from '../devices/virtio-mem/plan.ts';
import { layOutMemory } from './memory-layout.ts';
import { qemuIdOf, type Placement } from './placement.ts';

/** Physical address space where nothing bounds it further, in `bits`: what emulation has. */
const PHYS_BITS = 40;
/** With less, in `bits`, the guest's address space has no room to set aside. */
const ROOMY_BITS = 36;

/**
 * `-m`: the RAM and the room behind it. Room costs address space, and no memory: each machine
 * has a sixteenth of its address space for pmem devices that are added later, 64 GiB unless max_phys_bits says less.
 * `pmemBytes` is what the pmem devices take that are there from the start.
 */
export function planMemory({ memory, cpus }: VmConfig, pmemBytes: number): MemoryPlan {
  const size = bootMemory(memory);
  const bits = Math.min(cpus.max_phys_bits ?? PHYS_BITS, PHYS_BITS);
  const later = bits < ROOMY_BITS ? 0 : 2 ** (bits - 4);
  return { size, slots: dimmsOf(memory), max: size + roomOf(memory) + roundUp(pmemBytes) + later };
}

function dimmsOf({ hotplug_method: method, hotplug_size: room }: MemoryConfig): number {
  return method === 'Acpi' && room !== undefined ? DIMMS_MAX : 0;
}

function roomOf(memory: MemoryConfig): number {
  if (dimmsOf(memory) > 0) return roundUp(memory.hotplug_size ?? 0);
  return growingZones(memory).reduce((total, zone) => total + roundUp(zone.hotplug_size ?? 0), 0);
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / MEMORY_BLOCK) * MEMORY_BLOCK;
}

/** Every region of RAM of a machine: what it starts with, then what its virtio-mem devices can add. */
export function ramRegions(config: VmConfig, placements: readonly Placement[]): readonly RamRegion[] {
  const growing = virtioMems(placements).map(({ qemuId, zone }) => virtioMemRegion(zone, qemuId));
  return [...layOutMemory(config).regions, ...growing];
}

/** A virtio-mem device and the zone that it makes larger. */
export interface VirtioMemPlace {
  /** as clients know it, e.g. `_mem0` */
  readonly id: string;
  readonly qemuId: string;
  readonly zone: MemoryZoneConfig;
}

/** The virtio-mem devices of a machine, in the order of the zones. */
export function virtioMems(placements: readonly Placement[]): readonly VirtioMemPlace[] {
  return placements.flatMap((placement) => {
    const { device, id, config } = placement;
    return device === virtioMem && isZone(config) ? [{ id, qemuId: qemuIdOf(placement), zone: config }] : [];
  });
}

function isZone(config: unknown): config is MemoryZoneConfig {
  return typeof config === 'object' && config !== null && 'hugepages' in config;
}
