import {
  checkAffinities,
  checkQueueCount,
  checkQueueSize,
  SHARED_MEMORY_NEEDED,
  SOCKET_NEEDED,
  type Report,
  type RuleContext,
} from '../common/rules.ts';
import { DISK_SERIAL, type DiskConfig } from './config.ts';

/** Checks a disk: where its blocks are, its serial number and its queues. */
export function checkDisk(disk: DiskConfig, context: RuleContext): void {
  const { place, report } = context;
  const noPath = disk.path === undefined || disk.path === '';
  if (noPath && !disk.vhost_user) report(`${place}.path`, 'a disk needs a path');
  if (disk.vhost_socket !== undefined && disk.path !== undefined) {
    report(place, 'Disk path and vhost socket both provided');
  }
  checkSerial(disk, context);
  if (disk.vhost_user) checkVhostUser(disk, context);
  checkQueueCount(disk.num_queues, context);
  checkQueueSize(disk.queue_size, context);
}

function checkSerial({ serial, vhost_user: isVhostUser }: DiskConfig, { place, report }: RuleContext): void {
  if (serial === undefined) return;
  if (isVhostUser) report(`${place}.serial`, 'has no effect with vhost_user');
  const { maxLength: most } = DISK_SERIAL;
  if (new TextEncoder().encode(serial).length > most) {
    report(`${place}.serial`, `longer than ${most} bytes`);
  }
}

function checkVhostUser(disk: DiskConfig, { place, sharesRam, report }: RuleContext): void {
  if (!sharesRam) report(place, SHARED_MEMORY_NEEDED);
  if (disk.vhost_socket === undefined) report(place, SOCKET_NEEDED);
  if (disk.rate_limiter_config !== undefined) {
    report(`${place}.rate_limiter_config`, 'has no effect with vhost_user: only its back-end can limit it');
  }
}

/** Checks the host CPUs that the queues of a disk are pinned to. */
export function checkQueueAffinity(disk: DiskConfig, place: string, report: Report): void {
  const { queue_affinity: affinity = [], vhost_user: isVhostUser } = disk;
  const items = affinity.map(({ queue_index: number, host_cpus: hostCpus }) => ({ number, hostCpus }));
  const list = `${place}.queue_affinity`;
  checkAffinities(items, { place: list, what: 'queue', member: 'queue_index', report });
  if (items.length > 0 && isVhostUser) report(list, 'has no effect with vhost_user');
}
