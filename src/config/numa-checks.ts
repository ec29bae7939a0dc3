import { NUMA_NODES } from '../devices/common/limits.ts';
import { SINGLE_ZONE } from '../devices/memory/zones.ts';
import type { NumaConfig } from '../devices/numa/config.ts';
import type { SgxEpcConfig } from '../devices/sgx-epc/config.ts';
import type { Report } from './checks.ts';
import { duplicates } from './numbers.ts';
import type { VmConfig } from './vm-config.ts';

/** As ACPI counts. */
const OWN_DISTANCE = 10;

interface Known {
  readonly nodes: readonly number[];
  readonly zones: readonly string[];
  readonly sections: readonly string[];
}

/** The rules of NUMA nodes and SGX sections. */
export function checkNuma(config: VmConfig, report: Report): void {
  const nodes = config.numa ?? [];
  const zones = config.memory.zones ?? [];
  const known: Known = {
    nodes: nodes.map((node) => node.guest_numa_id),
    zones: zones.length === 0 ? [SINGLE_ZONE] : zones.map((zone) => zone.id),
    sections: (config.sgx_epc ?? []).map((section) => section.id),
  };
  if (nodes.length > NUMA_NODES.maxItems) report('numa', `more than ${NUMA_NODES.maxItems} nodes`);
  for (const { index, value, first } of duplicates(known.nodes)) {
    report(`numa[${index}].guest_numa_id`, `${value} is taken by numa[${first}]`);
  }
  nodes.forEach((node, i) => {
    checkReferences(`numa[${i}]`, node, { known, report });
    checkCpus(`numa[${i}]`, node, { most: config.cpus.max_vcpus, report });
  });
  checkOwners(nodes, 'cpus', report);
  checkOwners(nodes, 'memory_zones', report);
  checkOwners(nodes, 'sgx_epc_sections', report);
  checkSections(config.sgx_epc ?? [], report);
}

interface Lookup {
  readonly known: Known;
  readonly report: Report;
}

function checkReferences(place: string, node: NumaConfig, { known, report }: Lookup): void {
  const distances = node.distances ?? [];
  distances.forEach(({ destination, distance }, i) => {
    const at = `${place}.distances[${i}]`;
    if (!known.nodes.includes(destination)) report(`${at}.destination`, `no NUMA node ${destination}`);
    const own = destination === node.guest_numa_id;
    if (own && distance !== OWN_DISTANCE) report(`${at}.distance`, `a node is ${OWN_DISTANCE} from itself`);
    if (distance < OWN_DISTANCE)
      report(`${at}.distance`, `must be at least ${OWN_DISTANCE}, got ${distance}`);
  });
  for (const { index, value } of duplicates(distances.map(({ destination }) => destination))) {
    report(`${place}.distances[${index}].destination`, `node ${value} is listed twice`);
  }
  (node.memory_zones ?? []).forEach((zone, i) => {
    if (!known.zones.includes(zone)) report(`${place}.memory_zones[${i}]`, `no memory zone "${zone}"`);
  });
  (node.sgx_epc_sections ?? []).forEach((section, i) => {
    if (!known.sections.includes(section)) {
      report(`${place}.sgx_epc_sections[${i}]`, `no SGX section "${section}"`);
    }
  });
}

/** A vCPU, a zone and a section belong to one node at most. */
function checkOwners(
  nodes: readonly NumaConfig[],
  member: 'cpus' | 'memory_zones' | 'sgx_epc_sections',
  report: Report,
): void {
  const owned = nodes.flatMap((node, i) =>
    (node[member] ?? []).map((value, j) => ({ value, place: `numa[${i}].${member}[${j}]` })),
  );
  for (const { index, value, first } of duplicates(owned.map((one) => one.value))) {
    report(`${owned[index]?.place}`, `${value} is listed in ${owned[first]?.place} already`);
  }
}

interface CpuLimit {
  readonly most: number;
  readonly report: Report;
}

function checkCpus(place: string, node: NumaConfig, { most, report }: CpuLimit): void {
  (node.cpus ?? []).forEach((cpu, i) => {
    if (cpu >= most) report(`${place}.cpus[${i}]`, `no vCPU ${cpu} (max_vcpus ${most})`);
  });
}

function checkSections(sections: readonly SgxEpcConfig[], report: Report): void {
  sections.forEach(({ size }, i) => {
    if (size === 0 || size % 4096 !== 0) {
      report(`sgx_epc[${i}].size`, `must be a multiple of 4096 above 0, got ${size}`);
    }
  });
  for (const { index, value, first } of duplicates(sections.map(({ id }) => id))) {
    report(`sgx_epc[${index}].id`, `"${value}" is taken by sgx_epc[${first}]`);
  }
}
