import { duplicates } from '../../util/duplicates.ts';
import type { Report } from '../common/rules.ts';
import { NUMA_NODES, OWN_DISTANCE, type NumaConfig } from './config.ts';

/*
 * Rules for NUMA nodes alone. Their vCPUs, memory zones and SGX sections are checked in config/numa-checks.ts.
 */

/** Checks the number of nodes and that no two have the same number. */
export function checkNodeNumbers(nodes: readonly NumaConfig[], report: Report): void {
  if (nodes.length > NUMA_NODES.maxItems) report('numa', `more than ${NUMA_NODES.maxItems} nodes`);
  for (const { index, value, first } of duplicates(nodes.map((node) => node.guest_numa_id))) {
    report(`numa[${index}].guest_numa_id`, `${value} is taken by numa[${first}]`);
  }
}

/** Place of a node in the configuration, and the numbers of all nodes. */
interface NodeContext {
  /** place of the node, e.g. `numa[0]` */
  readonly place: string;
  readonly nodes: readonly number[];
  readonly report: Report;
}

/** Checks the distances of one node to others. */
export function checkDistances(
  { guest_numa_id: own, distances = [] }: NumaConfig,
  { place, nodes, report }: NodeContext,
): void {
  distances.forEach(({ destination, distance }, i) => {
    const at = `${place}.distances[${i}]`;
    if (!nodes.includes(destination)) report(`${at}.destination`, `no NUMA node ${destination}`);
    if (destination === own && distance !== OWN_DISTANCE) {
      report(`${at}.distance`, `a node is ${OWN_DISTANCE} from itself`);
    }
    if (distance < OWN_DISTANCE) {
      report(`${at}.distance`, `must be at least ${OWN_DISTANCE}, got ${distance}`);
    }
  });
  for (const { index, value } of duplicates(distances.map(({ destination }) => destination))) {
    report(`${place}.distances[${index}].destination`, `node ${value} is listed twice`);
  }
}

/** Checks that a vCPU, a zone or a section belongs to at most one node. */
export function checkOwners(
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
