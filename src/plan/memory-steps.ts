import type { VmConfig } from '../config/vm-config.ts';
import type { MemoryPlan } from '../devices/common/machine-plan.ts';
import type { Step } from '../devices/common/step.ts';
import { bootMemory, growingZones, SINGLE_ZONE, zonesOf } from '../devices/memory/zones.ts';
import {
  DIMMS_MAX,
  MEMORY_BLOCK,
  type MemoryConfig,
  type MemoryZoneConfig,
} from '../devices/memory/config.ts';
import { ramObject, type RamRegion } from '../devices/memory/plan.ts';
import { virtioMem } from '../devices/virtio-mem/index.ts';
import { virtioMemRegion } from '../devices/virtio-mem/plan.ts';
import { layOutMemory, nodeOfZone } from './memory-layout.ts';
import { qemuIdOf, type Placement } from './placement.ts';

/** Physical address space in `bits` without `max_phys_bits`: that of QEMU's emulation. */
const PHYS_BITS = 40;
/** Smallest physical address space, in `bits`, that has addresses to reserve for later devices. */
const RESERVING_BITS = 36;

/**
 * Plans `-m`: RAM, and the address space behind it that is reserved for hot-plug. Reserved addresses cost no memory. Each
 * machine reserves a sixteenth of its address space for later pmem devices: 64 GiB unless `max_phys_bits` is smaller.
 * `pmemBytes`: size in `bytes` of the pmem devices at boot.
 */
export function planMemory({ memory, cpus }: VmConfig, pmemBytes: number): MemoryPlan {
  const size = bootMemory(memory);
  const bits = Math.min(cpus.max_phys_bits ?? PHYS_BITS, PHYS_BITS);
  const later = bits < RESERVING_BITS ? 0 : 2 ** (bits - 4);
  return { size, slots: dimmsOf(memory), max: size + hotplugBytes(memory) + roundUp(pmemBytes) + later };
}

function dimmsOf({ hotplug_method: method, hotplug_size: size }: MemoryConfig): number {
  return method === 'Acpi' && size !== undefined ? DIMMS_MAX : 0;
}

function hotplugBytes(memory: MemoryConfig): number {
  if (dimmsOf(memory) > 0) return roundUp(memory.hotplug_size ?? 0);
  return growingZones(memory).reduce((total, zone) => total + roundUp(zone.hotplug_size ?? 0), 0);
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / MEMORY_BLOCK) * MEMORY_BLOCK;
}

/** Returns every region of a machine's RAM: the regions at boot, then those of its virtio-mem devices. */
export function ramRegions(config: VmConfig, placements: readonly Placement[]): readonly RamRegion[] {
  const growing = virtioMems(placements).map(({ qemuId, zone }) => virtioMemRegion(zone, qemuId));
  return [...layOutMemory(config).regions, ...growing];
}

/** virtio-mem device and the zone that it extends. */
export interface VirtioMemPlace {
  /** as clients know it, e.g. `_mem0` */
  readonly id: string;
  readonly qemuId: string;
  readonly zone: MemoryZoneConfig;
}

/** Returns the virtio-mem devices of a machine, in the order of the zones. */
export function virtioMems(placements: readonly Placement[]): readonly VirtioMemPlace[] {
  return placements.flatMap((placement) => {
    const { device, id, config } = placement;
    return device === virtioMem && isZone(config) ? [{ id, qemuId: qemuIdOf(placement), zone: config }] : [];
  });
}

function isZone(config: unknown): config is MemoryZoneConfig {
  return typeof config === 'object' && config !== null && 'hugepages' in config;
}

/** Plans a DIMM: RAM with the backing and in the NUMA node of the machine's RAM. */
export function planDimm(index: number, size: number, config: VmConfig): readonly Step[] {
  const [backing] = zonesOf(config.memory);
  if (backing === undefined) throw new Error('the RAM has a zone');
  const region: RamRegion = { id: `dimm${index}`, size, zones: [SINGLE_ZONE], backing, sparse: false };
  const props = {
    driver: 'pc-dimm',
    id: `dimm${index}.device`,
    memdev: region.id,
    node: nodeOfZone(config, SINGLE_ZONE),
  };
  return [ramObject(region), { kind: 'device', props }];
}
