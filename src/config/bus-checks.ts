import type { DiskConfig } from '../devices/disk/config.ts';
import type { FsConfig } from '../devices/fs/config.ts';
import {
  CLIQUE,
  DISK_SERIAL,
  FS_TAG,
  LANDLOCK_ACCESS,
  PMEM_SIZE,
  QUEUES,
  QUEUE_SIZE,
  SHARED_SIZE,
  VSOCK_CID,
} from '../devices/common/limits.ts';
import type { PmemConfig } from '../devices/pmem/config.ts';
import type { Report } from './checks.ts';
import { dialectOf } from './dialect.ts';
import { checkIds } from './id-checks.ts';
import { checkNet, NO_SOCKET, SHARED_MEMORY, TOO_MANY_QUEUES } from './net-checks.ts';
import { duplicates, isPowerOfTwo } from './numbers.ts';
import type { VmConfig } from './vm-config.ts';

interface Machine {
  readonly vcpus: number;
  readonly shared: boolean;
  readonly report: Report;
}

/** The rules of the devices on the bus, and of their ids. */
export function checkBusDevices(config: VmConfig, report: Report): void {
  const machine: Machine = { vcpus: config.cpus.boot_vcpus, shared: hasSharedRam(config), report };
  (config.disks ?? []).forEach((disk, i) => checkDisk(`disks[${i}]`, disk, machine));
  checkGroups(config, report);
  (config.net ?? []).forEach((net, i) => checkNet(`net[${i}]`, net, machine));
  (config.fs ?? []).forEach((fs, i) => checkFs(`fs[${i}]`, fs, machine));
  (config.pmem ?? []).forEach((pmem, i) => checkPmem(`pmem[${i}]`, pmem, report));
  const cid = config.vsock?.cid ?? 0;
  if (cid > VSOCK_CID.maximum) report('vsock.cid', `larger than ${VSOCK_CID.maximum}`);
  checkFurther(config, report);
  checkIvshmem(config, report);
  checkIds(config, report);
}

/** Whether vhost-user back-ends can see the RAM, by the rule of the VM's dialect. */
function hasSharedRam(config: VmConfig): boolean {
  const { shared, hugepages, size, zones = [] } = config.memory;
  if (shared || !dialectOf(config).countsSharedPages) return shared;
  return hugepages || (size === 0 && zones.length > 0 && zones.every((one) => one.shared || one.hugepages));
}

function checkFurther({ devices = [], tpm, landlock_rules: rules = [] }: VmConfig, report: Report): void {
  for (const [i, { x_nv_gpudirect_clique: clique = 0 }] of devices.entries()) {
    if (clique > CLIQUE.maximum) {
      report(`devices[${i}].x_nv_gpudirect_clique`, `larger than ${CLIQUE.maximum}`);
    }
  }
  for (const { index, value, first } of duplicates(devices.map(({ path }) => path))) {
    report(`devices[${index}].path`, `${value} is passed through as devices[${first}] already`);
  }
  if (tpm?.socket === '') report('tpm.socket', 'must not be empty');
  for (const [i, { path, access }] of rules.entries()) {
    if (path === '') report(`landlock_rules[${i}].path`, 'must not be empty');
    if (!new RegExp(LANDLOCK_ACCESS.pattern).test(access))
      report(`landlock_rules[${i}].access`, `must be r, w or rw, got "${access}"`);
  }
}

function checkIvshmem({ ivshmem }: VmConfig, report: Report): void {
  if (ivshmem === undefined) return;
  const { path, size } = ivshmem;
  if (path === '') report('ivshmem.path', 'must not be empty');
  if (isPowerOfTwo(size) && size >= SHARED_SIZE.minimum) return;
  report('ivshmem.size', `must be a power of two from ${SHARED_SIZE.minimum} on, got ${size}`);
}

function checkDisk(place: string, disk: DiskConfig, machine: Machine): void {
  const { vcpus, report } = machine;
  const noPath = disk.path === undefined || disk.path === '';
  if (noPath && !disk.vhost_user) report(`${place}.path`, 'a disk needs a path');
  if (disk.vhost_socket !== undefined && disk.path !== undefined) {
    report(place, 'Disk path and vhost socket both provided');
  }
  checkSerial(`${place}.serial`, disk, report);
  if (disk.vhost_user) checkVhostUserDisk(place, disk, machine);
  if (disk.num_queues > vcpus) report(place, TOO_MANY_QUEUES);
  if (disk.num_queues < QUEUES.minimum) report(`${place}.num_queues`, 'must not be 0');
  checkQueueSize(place, disk.queue_size, report);
}

function checkVhostUserDisk(place: string, disk: DiskConfig, { shared, report }: Machine): void {
  if (!shared) report(place, SHARED_MEMORY);
  if (disk.vhost_socket === undefined) report(place, NO_SOCKET);
  if (disk.rate_limiter_config !== undefined) {
    report(`${place}.rate_limiter_config`, 'has no effect with vhost_user: only its back-end can limit it');
  }
}

/** Rate limit groups have names of their own, and disks know them. */
function checkGroups({ rate_limit_groups: groups = [], disks = [] }: VmConfig, report: Report): void {
  const names = groups.map(({ id }) => id);
  for (const { index, value, first } of duplicates(names)) {
    const place = `rate_limit_groups[${index}].id`;
    report(place, `"${value}" is taken by rate_limit_groups[${first}]`, 'duplicate');
  }
  for (const [
    i,
    { rate_limit_group: group, rate_limiter_config: own, vhost_user: served },
  ] of disks.entries()) {
    if (group === undefined) continue;
    const place = `disks[${i}].rate_limit_group`;
    if (!names.includes(group)) report(place, `there is no rate limit group "${group}"`);
    if (own !== undefined) report(place, 'the disk has limits of its own (rate_limiter_config)');
    if (served) report(place, 'has no effect with vhost_user: only its back-end can limit it');
  }
}

function checkSerial(place: string, { serial, vhost_user: served }: DiskConfig, report: Report): void {
  if (serial === undefined) return;
  if (served) report(place, 'has no effect with vhost_user');
  const { maxLength: most } = DISK_SERIAL;
  if (new TextEncoder().encode(serial).length > most) report(place, `longer than ${most} bytes`);
}

function checkFs(place: string, fs: FsConfig, { vcpus, shared, report }: Machine): void {
  if (!shared) report(place, SHARED_MEMORY);
  if (fs.num_queues > vcpus) report(place, TOO_MANY_QUEUES);
  if (fs.num_queues < QUEUES.minimum) report(`${place}.num_queues`, 'must not be 0');
  const length = new TextEncoder().encode(fs.tag).length;
  const { minLength: least, maxLength: most } = FS_TAG;
  if (length < least || length > most) report(`${place}.tag`, `must have ${least} to ${most} bytes`);
  checkQueueSize(place, fs.queue_size, report);
}

function checkPmem(place: string, { size }: PmemConfig, report: Report): void {
  if (size === undefined || (size >= PMEM_SIZE.minimum && size % PMEM_SIZE.multipleOf === 0)) return;
  report(`${place}.size`, `must be a multiple of 2 MiB above 0, got ${size}`);
}

function checkQueueSize(place: string, size: number, report: Report): void {
  const { minimum: least, maximum: most } = QUEUE_SIZE;
  if (isPowerOfTwo(size) && size >= least && size <= most) return;
  report(`${place}.queue_size`, `must be a power of two from ${least} to ${most}, got ${size}`);
}
