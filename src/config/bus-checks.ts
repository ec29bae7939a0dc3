import type { DiskConfig } from '../devices/disk.ts';
import type { FsConfig } from '../devices/fs.ts';
import { DEVICES } from '../devices/index.ts';
import type { PmemConfig } from '../devices/pmem.ts';
import type { Report } from './checks.ts';
import { deviceItems } from './items.ts';
import { checkNet, NO_SOCKET, SHARED_MEMORY, TOO_MANY_QUEUES } from './net-checks.ts';
import { duplicates, isPowerOfTwo } from './numbers.ts';
import type { VmConfig } from './vm-config.ts';

/** Descriptors of a virtio queue: the engine's bounds for disks and file systems. */
const QUEUE = { least: 4, most: 1024 } as const;
/** pmem is mapped in large pages of this many `bytes`. */
const PMEM_PAGE = 2 * 2 ** 20;
/** Memory is mapped in pages of this many `bytes`. */
const PAGE = 4096;
/** A guest's vsock address has 32 bits, and the last is "any". */
const CID_MAX = 2 ** 32 - 2;

interface Machine {
  readonly vcpus: number;
  readonly shared: boolean;
  readonly report: Report;
}

/** The rules of the devices on the bus, and of their ids. */
export function checkBusDevices(config: VmConfig, report: Report): void {
  const machine: Machine = { vcpus: config.cpus.boot_vcpus, shared: config.memory.shared, report };
  (config.disks ?? []).forEach((disk, i) => checkDisk(`disks[${i}]`, disk, machine));
  checkGroups(config, report);
  (config.net ?? []).forEach((net, i) => checkNet(`net[${i}]`, net, machine));
  (config.fs ?? []).forEach((fs, i) => checkFs(`fs[${i}]`, fs, machine));
  (config.pmem ?? []).forEach((pmem, i) => checkPmem(`pmem[${i}]`, pmem, report));
  const cid = config.vsock?.cid ?? 0;
  if (cid > CID_MAX) report('vsock.cid', `larger than ${CID_MAX}`);
  checkFurther(config, report);
  checkIvshmem(config, report);
  checkIds(config, report);
}

/** Groups of NVIDIA devices that QEMU knows. */
const CLIQUE_MAX = 15;

function checkFurther({ devices = [], tpm, landlock_rules: rules = [] }: VmConfig, report: Report): void {
  for (const [i, { x_nv_gpudirect_clique: clique = 0 }] of devices.entries()) {
    if (clique > CLIQUE_MAX) report(`devices[${i}].x_nv_gpudirect_clique`, `larger than ${CLIQUE_MAX}`);
  }
  for (const { index, value, first } of duplicates(devices.map(({ path }) => path))) {
    report(`devices[${index}].path`, `${value} is passed through as devices[${first}] already`);
  }
  if (tpm?.socket === '') report('tpm.socket', 'must not be empty');
  for (const [i, { path, access }] of rules.entries()) {
    if (path === '') report(`landlock_rules[${i}].path`, 'must not be empty');
    if (!/^(?:r|w|rw|wr)$/.test(access))
      report(`landlock_rules[${i}].access`, `must be r, w or rw, got "${access}"`);
  }
}

function checkIvshmem({ ivshmem }: VmConfig, report: Report): void {
  if (ivshmem === undefined) return;
  const { path, size } = ivshmem;
  if (path === '') report('ivshmem.path', 'must not be empty');
  if (isPowerOfTwo(size) && size >= PAGE) return;
  report('ivshmem.size', `must be a power of two from ${PAGE} on, got ${size}`);
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
  if (disk.num_queues === 0) report(`${place}.num_queues`, 'must not be 0');
  checkQueueSize(place, disk.queue_size, { ...QUEUE, report });
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

/** Bytes of a serial number that virtio-blk has room for. */
const SERIAL_MAX = 20;

function checkSerial(place: string, { serial, vhost_user: served }: DiskConfig, report: Report): void {
  if (serial === undefined) return;
  if (served) report(place, 'has no effect with vhost_user');
  if (new TextEncoder().encode(serial).length > SERIAL_MAX) report(place, `longer than ${SERIAL_MAX} bytes`);
}

function checkFs(place: string, fs: FsConfig, { vcpus, shared, report }: Machine): void {
  if (!shared) report(place, SHARED_MEMORY);
  if (fs.num_queues > vcpus) report(place, TOO_MANY_QUEUES);
  if (fs.num_queues === 0) report(`${place}.num_queues`, 'must not be 0');
  const length = new TextEncoder().encode(fs.tag).length;
  if (length === 0 || length > 36) report(`${place}.tag`, 'must have 1 to 36 bytes');
  checkQueueSize(place, fs.queue_size, { ...QUEUE, report });
}

function checkPmem(place: string, { size }: PmemConfig, report: Report): void {
  if (size === undefined || (size > 0 && size % PMEM_PAGE === 0)) return;
  report(`${place}.size`, `must be a multiple of 2 MiB above 0, got ${size}`);
}

interface QueueBounds {
  readonly least: number;
  readonly most: number;
  readonly report: Report;
}

function checkQueueSize(place: string, size: number, { least, most, report }: QueueBounds): void {
  if (isPowerOfTwo(size) && size >= least && size <= most) return;
  report(`${place}.queue_size`, `must be a power of two from ${least} to ${most}, got ${size}`);
}

/** Names that the machine itself uses in the device tree. */
const RESERVED: readonly string[] = [
  '_ioapic',
  ...DEVICES.flatMap(({ ids }) => (ids !== undefined && 'fixed' in ids ? [ids.fixed] : [])),
];
const RESERVED_PREFIX = '_virtio-pci-';

function checkIds(config: VmConfig, report: Report): void {
  const named = deviceItems(config).flatMap(({ id, place }) => (id === undefined ? [] : [{ id, place }]));
  for (const { id, place } of named) {
    if (id === '') report(`${place}.id`, 'must not be empty');
    if (RESERVED.includes(id) || id.startsWith(RESERVED_PREFIX)) report(`${place}.id`, `"${id}" is reserved`);
  }
  for (const { index, value, first } of duplicates(named.map(({ id }) => id))) {
    report(`${named[index]?.place}.id`, `"${value}" is taken by ${named[first]?.place}`, 'duplicate');
  }
}
