import type { VmConfig } from '../config/vm-config.ts';
import type { NumaOption } from '../devices/common/machine-plan.ts';
import { zonesOf } from '../devices/memory/zones.ts';
import type { MemoryZoneConfig } from '../devices/memory/config.ts';
import type { NumaConfig } from '../devices/numa/config.ts';
import type { RamRegion } from '../devices/memory/plan.ts';

/** Configuration that a layout depends on. */
export type MemorySource = Pick<VmConfig, 'memory' | 'numa' | 'cpus'>;

/** RAM that the guest boots with, and its NUMA nodes in QEMU's numbers. */
export interface MemoryLayout {
  readonly regions: readonly RamRegion[];
  readonly numa: readonly NumaOption[];
}

/**
 * Lays the zones out. QEMU takes one object as the RAM of a machine without NUMA nodes, or one object for each node. Zones of
 * a node that have the same backing become one object. Each further object needs a further node: it follows the configured
 * nodes, has no vCPUs, and is at the smallest distance from the node of its zones. A guest sees more nodes than the configuration has in this case
 * only. `places`: number of vCPUs that QEMU reserves places for.
 */
export function layOutMemory(config: MemorySource, places = config.cpus.max_vcpus): MemoryLayout {
  const nodes = nodesOf(config);
  const parts = nodes.flatMap((_, node) => partsOf(config, node));
  const regions = parts.map(({ zones }, i) => regionOf(parts.length === 1 ? 'ram' : `ram${i}`, zones));
  if (config.numa === undefined && parts.length === 1) return { regions, numa: [] };
  const numa = numberNodes(nodes.length, parts);
  return {
    regions,
    numa: [...planNodes(config, { nodes: numa, regions, places }), ...planDistances(nodes, numa)],
  };
}

/** Returns QEMU's number of the node of a zone; the numbers have no gaps. */
export function nodeOfZone(config: MemorySource, zone: string): number {
  const found = nodesOf(config).findIndex(({ memory_zones: zones }) => zones?.includes(zone));
  return Math.max(0, found);
}

/** Returns QEMU's number of the node of an SGX section. */
export function nodeOfSection(config: MemorySource, section: string): number {
  const found = nodesOf(config).findIndex(({ sgx_epc_sections: sections }) => sections?.includes(section));
  return Math.max(0, found);
}

/** Returns the guest's nodes in QEMU's order; one node without members if the configuration has none. */
function nodesOf({ numa = [] }: Pick<MemorySource, 'numa'>): readonly Partial<NumaConfig>[] {
  return numa.length === 0 ? [{}] : numa.toSorted((a, b) => a.guest_numa_id - b.guest_numa_id);
}

/** Zones that share one object. */
interface Part {
  /** index of their node in the configuration */
  readonly node: number;
  readonly zones: readonly MemoryZoneConfig[];
}

function partsOf(config: MemorySource, node: number): Part[] {
  const parts = new Map<string, MemoryZoneConfig[]>();
  for (const zone of zonesOf(config.memory)) {
    if (nodeOfZone(config, zone.id) !== node) continue;
    const key = backingKey(zone);
    parts.set(key, [...(parts.get(key) ?? []), zone]);
  }
  return [...parts.values()].map((zones) => ({ node, zones }));
}

/** Returns a key that zones have in common if they can share one object; a zone with a file shares with none. */
function backingKey({ id, file, ...zone }: MemoryZoneConfig): string {
  const { shared, mergeable, hugepages, hugepage_size: page, host_numa_node: node } = zone;
  return JSON.stringify([file === undefined ? [shared, mergeable, hugepages, page, node] : id]);
}

function regionOf(id: string, zones: readonly MemoryZoneConfig[]): RamRegion {
  const [backing] = zones;
  if (backing === undefined) throw new Error('a region holds a zone');
  return {
    id,
    size: zones.reduce((total, { size }) => total + size, 0),
    zones: zones.map((zone) => zone.id),
    // settings that the guest cannot see must not add nodes
    backing: {
      ...backing,
      prefault: zones.some((zone) => zone.prefault),
      reserve: zones.every((zone) => zone.reserve !== false),
    },
    sparse: false,
  };
}

/** NUMA node of QEMU. */
interface Node {
  /** index of the configured node that it is, or is nearest to */
  readonly base: number;
  /** index of the part that is its RAM */
  readonly part: number | undefined;
}

/** Returns the configured nodes with the first part of each, then a node for each further part. */
function numberNodes(count: number, parts: readonly Part[]): Node[] {
  const first = Array.from({ length: count }, (_, base) => parts.findIndex(({ node }) => node === base));
  return [
    ...first.map((part, base) => ({ base, part: part < 0 ? undefined : part })),
    ...parts.flatMap(({ node }, part) => (first.includes(part) ? [] : [{ base: node, part }])),
  ];
}

interface NodePlan {
  readonly nodes: readonly Node[];
  readonly regions: readonly RamRegion[];
  readonly places: number;
}

function planNodes(config: MemorySource, { nodes, regions, places }: NodePlan): NumaOption[] {
  const users = nodesOf(config);
  const listed = new Set(users.flatMap(({ cpus = [] }) => cpus));
  // a guest assigns unlisted vCPUs to the first node
  const rest = Array.from({ length: places }, (_, cpu) => cpu).filter((cpu) => !listed.has(cpu));
  return nodes.map(({ part }, node) => ({
    kind: 'node',
    node,
    cpus: rangesOf([...(users[node]?.cpus ?? []), ...(node === 0 ? rest : [])]),
    memory: part === undefined ? undefined : regions[part]?.id,
  }));
}

/** Returns `[[0, 2], [9, 9]]` for `[0, 1, 2, 9]`. */
function rangesOf(numbers: readonly number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** Distances in the units of ACPI's SLIT (ACPI 6.5, 5.2.17): to the node itself, to the nearest node, and the default. */
const OWN = 10;
const NEXT = 11;
const OTHER = 20;

function planDistances(users: readonly Partial<NumaConfig>[], nodes: readonly Node[]): NumaOption[] {
  const given = users.some(({ distances = [] }) => distances.length > 0);
  if (!given && nodes.length === users.length) return [];
  const between = (from: number, to: number): number => {
    const destination = users[to]?.guest_numa_id;
    return users[from]?.distances?.find((one) => one.destination === destination)?.distance ?? OTHER;
  };
  return nodes.flatMap((a, from) =>
    nodes.map((b, to): NumaOption => {
      const distance = from === to ? OWN : a.base === b.base ? NEXT : between(a.base, b.base);
      return { kind: 'distance', from, to, distance };
    }),
  );
}
