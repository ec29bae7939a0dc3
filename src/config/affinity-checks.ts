import type { Report } from './checks.ts';
import { duplicates } from './numbers.ts';
import type { VmConfig } from './vm-config.ts';

/**
 * The processors of the host that vCPUs and queues ask for. Whether the host has them is vm.boot's business; a vCPU or queue
 * that the VM does not have is ignored there.
 */
export function checkAffinity({ cpus, disks = [] }: VmConfig, report: Report): void {
  const vcpus = (cpus.affinity ?? []).map(({ vcpu, host_cpus }) => ({ number: vcpu, host_cpus }));
  checkItems('cpus.affinity', vcpus, { what: 'vCPU', member: 'vcpu', report });
  for (const [i, disk] of disks.entries()) {
    const queues = (disk.queue_affinity ?? []).map(({ queue_index: number, host_cpus }) => ({
      number,
      host_cpus,
    }));
    const place = `disks[${i}].queue_affinity`;
    checkItems(place, queues, { what: 'queue', member: 'queue_index', report });
    if (queues.length > 0 && disk.vhost_user) report(place, 'has no effect with vhost_user');
  }
}

/** Linux has no more. */
const PROCESSORS_MAX = 8192;

interface Item {
  readonly number: number;
  readonly host_cpus: readonly number[];
}

interface Rule {
  readonly what: string;
  readonly member: string;
  readonly report: Report;
}

function checkItems(place: string, items: readonly Item[], { what, member, report }: Rule): void {
  for (const [i, { host_cpus: hostCpus }] of items.entries()) {
    if (hostCpus.length === 0) report(`${place}[${i}].host_cpus`, 'must not be empty');
    if (hostCpus.length > PROCESSORS_MAX) report(`${place}[${i}].host_cpus`, `more than ${PROCESSORS_MAX}`);
  }
  for (const { index, value, first } of duplicates(items.map(({ number }) => number))) {
    report(`${place}[${index}].${member}`, `${what} ${value} is in ${place}[${first}] already`);
  }
}
