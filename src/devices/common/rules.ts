import { duplicates } from '../../util/duplicates.ts';
import { isPowerOfTwo } from '../../util/power-of-two.ts';
import { QUEUES, QUEUE_SIZE } from './limits.ts';

/*
 * Rules of configurations: the types that all rules have, and the rules that several kinds of devices share. The rules of one kind
 * are in its rules.ts, rules about two kinds in config/. No rule reads the state of the host: vm.boot does that.
 */

/** A broken rule: the configuration decodes, but cannot be used. */
export interface Problem {
  /** `duplicate`: an id that another device has; its status code differs */
  readonly kind: 'invalid' | 'duplicate';
  /** the member and the reason, e.g. `disks[0].path: a disk needs a path` */
  readonly text: string;
}

/** Reports a problem at a place of the configuration, e.g. at `disks[0].path`. */
export type Report = (place: string, reason: string, kind?: Problem['kind']) => void;

/** Facts about the machine that the rules of a device may use. */
export interface RuleContext {
  /** place of the device in the configuration, e.g. `disks[0]` */
  readonly place: string;
  readonly bootVcpus: number;
  /** vhost-user back-ends can map the RAM */
  readonly sharesRam: boolean;
  /** RAM without a balloon, in `bytes`: at boot, and the requested size of virtio-mem devices */
  readonly ram: number;
  readonly report: Report;
}

// the texts of Cloud Hypervisor, which its clients may compare
export const SHARED_MEMORY_NEEDED =
  'Using vhost-user requires using shared memory: set memory.shared (--memory shared=on)';
export const TOO_MANY_QUEUES = 'Number of vCPUs is insufficient for number of queues';
export const SOCKET_NEEDED = 'No socket provided when using vhost-user';

/** Checks the number of queues of a disk or a file system. */
export function checkQueueCount(count: number, { place, bootVcpus, report }: RuleContext): void {
  if (count > bootVcpus) report(place, TOO_MANY_QUEUES);
  if (count < QUEUES.minimum) report(`${place}.num_queues`, 'must not be 0');
}

/** Checks the number of descriptors in a queue of a disk or a file system. */
export function checkQueueSize(size: number, { place, report }: RuleContext): void {
  const { minimum: least, maximum: most } = QUEUE_SIZE;
  if (isPowerOfTwo(size) && size >= least && size <= most) return;
  report(`${place}.queue_size`, `must be a power of two from ${least} to ${most}, got ${size}`);
}

/** CPUs that Linux can manage on x86-64 (arch/x86/Kconfig, NR_CPUS_RANGE_END). */
const HOST_CPUS_MAX = 8192;

/** Host CPUs of one vCPU or one queue. */
interface Affinity {
  /** number of the vCPU or queue */
  readonly number: number;
  readonly hostCpus: readonly number[];
}

/** List with the affinities, and its names in messages. */
interface AffinityList {
  /** e.g. `cpus.affinity` */
  readonly place: string;
  /** `vCPU` or `queue` */
  readonly what: string;
  /** member with the number, e.g. `vcpu` */
  readonly member: string;
  readonly report: Report;
}

/**
 * Checks the host CPUs of vCPUs or queues. vm.boot checks that the host has them, and ignores a vCPU or queue that the VM does not
 * have.
 */
export function checkAffinities(
  items: readonly Affinity[],
  { place, what, member, report }: AffinityList,
): void {
  for (const [i, { hostCpus }] of items.entries()) {
    if (hostCpus.length === 0) report(`${place}[${i}].host_cpus`, 'must not be empty');
    if (hostCpus.length > HOST_CPUS_MAX) report(`${place}[${i}].host_cpus`, `more than ${HOST_CPUS_MAX}`);
  }
  for (const { index, value, first } of duplicates(items.map(({ number }) => number))) {
    report(`${place}[${index}].${member}`, `${what} ${value} is in ${place}[${first}] already`);
  }
}
