import type { Report } from '../devices/common/rules.ts';
import { SINGLE_ZONE } from '../devices/memory/zones.ts';
import type { NumaConfig } from '../devices/numa/config.ts';
import { checkDistances, checkNodeNumbers, checkOwners } from '../devices/numa/rules.ts';
import type { VmConfig } from './vm-config.ts';

/** Names and numbers that a NUMA node can refer to. */
interface Known {
  readonly zones: readonly string[];
  readonly sections: readonly string[];
  readonly maxVcpus: number;
}

/** Checks the NUMA nodes: their numbers and distances, and the vCPUs, memory zones and SGX sections that belong to them. */
export function checkNuma(config: VmConfig, report: Report): void {
  const numa = config.numa ?? [];
  const zones = config.memory.zones ?? [];
  const known: Known = {
    zones: zones.length === 0 ? [SINGLE_ZONE] : zones.map((zone) => zone.id),
    sections: (config.sgx_epc ?? []).map((section) => section.id),
    maxVcpus: config.cpus.max_vcpus,
  };
  checkNodeNumbers(numa, report);
  const nodes = numa.map((node) => node.guest_numa_id);
  numa.forEach((node, i) => {
    const place = `numa[${i}]`;
    checkDistances(node, { place, nodes, report });
    checkReferences(node, known, (member, reason) => report(`${place}.${member}`, reason));
  });
  checkOwners(numa, 'cpus', report);
  checkOwners(numa, 'memory_zones', report);
  checkOwners(numa, 'sgx_epc_sections', report);
}

/** Checks that the zones, sections and vCPUs of a node exist. */
function checkReferences(node: NumaConfig, known: Known, report: Report): void {
  (node.memory_zones ?? []).forEach((zone, i) => {
    if (!known.zones.includes(zone)) report(`memory_zones[${i}]`, `no memory zone "${zone}"`);
  });
  (node.sgx_epc_sections ?? []).forEach((section, i) => {
    if (!known.sections.includes(section)) report(`sgx_epc_sections[${i}]`, `no SGX section "${section}"`);
  });
  (node.cpus ?? []).forEach((cpu, i) => {
    if (cpu >= known.maxVcpus) report(`cpus[${i}]`, `no vCPU ${cpu} (max_vcpus ${known.maxVcpus})`);
  });
}
