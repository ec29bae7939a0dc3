import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { isPinnedMember, isPinnedRoute, isPinnedStruct } from '../devices/test-kinds.ts';
import { openApiDocument } from './openapi.ts';
import { ROUTES } from './routes.ts';

/** The OpenAPI document of Cloud Hypervisor that this project implements, byte for byte. */
const CONTRACT = resolve('contract', 'cloud-hypervisor-openapi.yaml');

type Json = Readonly<Record<string, unknown>>;
interface Document {
  readonly paths: Readonly<Record<string, Json>>;
  readonly components: { readonly schemas: Readonly<Record<string, Json>> };
}

function readContract(): Document {
  try {
    // keys like 200 are texts in JSON
    return JSON.parse(JSON.stringify(parse(readFileSync(CONTRACT, 'utf8')))) as Document;
  } catch (error) {
    throw new Error(`the contract cannot be read at ${CONTRACT}; tests run in the root of the repository`, {
      cause: error,
    });
  }
}

function derived(view: 'contract' | 'everything'): Document {
  return JSON.parse(JSON.stringify(openApiDocument(view))) as Document;
}

/**
 * Schemas without prose: descriptions are those of Nephos. Lists of required members have no order, and the
 * console mode `Null`, which the contract writes without quotes, is a word although YAML takes it for nothing.
 */
function bare(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    if (key === 'required') return value.map(String).toSorted();
    return value.map((item: unknown) => (key === 'enum' && item === null ? 'Null' : bare(item)));
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(
    // a member called `description` would be an object
    ([name, member]) => !(name === 'description' && typeof member === 'string'),
  );
  return Object.fromEntries(entries.map(([name, member]) => [name, bare(member, name)]));
}

test('paths, methods, bodies and status codes are the contract’s, word for word', () => {
  assert.deepEqual(derived('contract').paths, readContract().paths);
});

test('paths stand in the order of the contract', () => {
  assert.deepEqual(Object.keys(derived('contract').paths), Object.keys(readContract().paths));
});

test('schemas are the contract’s: names, types, formats, defaults, minimums, what is required', () => {
  const contract = readContract().components.schemas;
  const ours = derived('contract').components.schemas;
  assert.deepEqual(Object.keys(ours).toSorted(), Object.keys(contract).toSorted());
  for (const [name, schema] of Object.entries(contract)) {
    assert.deepEqual(bare(ours[name]), bare(schema), name);
  }
});

/** Everything that is served beyond the contract, and why. */
const BEYOND: Readonly<Record<string, string>> = {
  'path /vm.console': 'consoles for many viewers, in each mode',
  'path /vmm.events': 'events without polling',
  'schema VmmEvent': 'events without polling',
  'path /vm.nmi': 'current versions have it',
  'path /vmm.operations': 'requests that are served asynchronously',
  'path /vmm.operations/{id}': 'one of them',
  'schema OperationInfo': 'a request that is served asynchronously',
  'schema OperationList': 'all of them',
  'schema OperationProgress': 'progress of one',
  'path /vmm.nmi': 'as some of their documents spell it',
  'schema ErrorMessages': 'body of every error',
  'schema PayloadConfig': 'current clients say so what is started',
  'schema PlatformConfig': 'current versions have it',
  'VmConfig.payload': 'current clients say so what is started',
  'VmConfig.platform': 'current versions have it',
  'VmmPingResponse.build_version': 'current versions answer it',
  'VmmPingResponse.pid': 'current versions answer it',
  'VmmPingResponse.features': 'current versions answer it',
  'DiskConfig.serial': 'current versions have it',
  'NetConfig.mtu': 'current versions have it',
  'ConsoleConfig.socket': 'current versions have mode Socket',
  'ConsoleConfig.port': 'a port is faster than hvc0: the SSH server of nephos run',
  'path /vmm.usage': 'figures for the page',
  'schema VmmUsage': 'reply of vmm.usage',
  'schema ProcessUse': 'part of VmmUsage',
  'path /vm.resize-disk': 'current versions have it',
  'path /vm.coredump': 'current versions have it',
  'schema VmCoredumpData': 'request of vm.coredump',
  'path /vm.add-user-device': 'current versions have it; refused with the reason',
  'path /vm.add-vdpa': 'current versions have it; refused with the reason',
  'path /vm.add-generic-vhost-user': 'current versions have it; refused with the reason',
  'schema VmResizeDisk': 'request of vm.resize-disk',
  'schema VmSnapshotResult': 'answer of a snapshot with live',
  'schema UserDeviceConfig': 'current versions have it; refused with the reason',
  'schema VdpaConfig': 'current versions have it; refused with the reason',
  'schema GenericVhostUserConfig': 'current versions have it; refused with the reason',
  'schema DebugConsoleConfig': 'current versions have it',
  'VmConfig.debug_console': 'current versions have it',
  'VmConfig.pvpanic': 'current versions have it',
  'VmConfig.user_devices': 'current versions have it; refused, not ignored',
  'VmConfig.vdpa': 'current versions have it; refused, not ignored',
  'schema RateLimitGroupConfig': 'current versions have it',
  'VmConfig.rate_limit_groups': 'current versions have it',
  'DiskConfig.rate_limit_group': 'current versions have it',
  'VmConfig.generic_vhost_user': 'current versions have it; refused, not ignored',
  'path /vm.receive-migration': 'Cloud Hypervisor has it',
  'path /vm.send-migration': 'Cloud Hypervisor has it',
  'schema ConsoleOverride': 'what clones have of their own',
  'schema DiskOverride': 'what clones have of their own',
  'schema FsOverride': 'what clones have of their own',
  'schema NetOverride': 'what clones have of their own',
  'schema RestoredNetConfig': 'current versions have it',
  'RestoreConfig.net_fds': 'current versions have it',
  'schema PayloadOverride': 'what clones have of their own',
  'schema PlatformOverride': 'what clones have of their own',
  'schema RestoreOverrides': 'what clones have of their own',
  'schema VsockOverride': 'what clones have of their own',
  'schema DiskCopy': 'the disks as they were at a snapshot of a VM that runs on',
  'schema PortForward': 'networks without rights',
  'schema VmReceiveMigrationData': 'request of vm.receive-migration',
  'schema VmSendMigrationData': 'request of vm.send-migration',
  'CpusConfig.kvm_hyperv': 'Cloud Hypervisor has it',
  'DeviceNode.parent': 'Cloud Hypervisor answers it',
  'DiskConfig.disable_io_uring': 'Cloud Hypervisor has it, for its tests',
  'DiskConfig.image_type': 'current versions have it; it settles what a raw image is',
  'DiskConfig.backing_files': 'current versions have it; allows a base outside the image’s folder',
  'RestoreConfig.overrides': 'what clones have of their own',
  'RestoreConfig.resume': 'later versions of Cloud Hypervisor have it',
  'VmSnapshotConfig.durable': 'a snapshot that is to outlive a power cut costs time',
  'VmSnapshotConfig.snapshot_type': 'a snapshot of only the changed pages needs its base',
  'VmSnapshotConfig.compose': 'a short pause, and a snapshot that needs no base',
  'VmSnapshotConfig.live': 'a snapshot of a VM that runs on',
  'VmSnapshotConfig.disks': 'the disks as they were at a snapshot of a VM that runs on',
  'NetConfig.backend': 'networks without rights',
  'VmInfo.accelerator': 'whether the vCPUs are emulated decides how fast they are',
  'VmConfig.tpm': 'current versions have it',
  'schema TpmConfig': 'current versions have it',
  'VmConfig.ivshmem': 'current versions have it',
  'schema IvshmemConfig': 'current versions have it',
  'VmConfig.gdb': 'current versions have it',
  'VmConfig.pci_segments': 'current versions have it; checked only',
  'schema PciSegmentConfig': 'current versions have it; checked only',
  'VmConfig.landlock_enable': 'current versions have it; not applied',
  'VmConfig.landlock_rules': 'current versions have it; not applied',
  'schema LandlockConfig': 'current versions have it; not applied',
  'VmConfig.pvmemcontrol': 'current versions have it; the guest goes without',
  'schema FwCfgConfig': 'current versions have it',
  'schema FwCfgItem': 'current versions have it',
  'schema FwCfgItemList': 'current versions have it',
  'schema CpuAffinity': 'current versions have it',
  'schema CpuFeatures': 'current versions have it',
  'schema VirtQueueAffinity': 'current versions have it',
  'CpusConfig.affinity': 'current versions have it',
  'CpusConfig.nested': 'current versions have it',
  'CpusConfig.features': 'current versions have it',
  'BalloonConfig.free_page_reporting': 'current versions have it',
  'NumaConfig.pci_segments': 'current versions have it; checked only',
  'DeviceConfig.x_nv_gpudirect_clique': 'current versions have it',
  'VmAddDevice.x_nv_gpudirect_clique': 'current versions have it',
  'MemoryConfig.prefault': 'current versions have it',
  'MemoryConfig.thp': 'current versions have it',
  'MemoryConfig.reserve': 'current versions have it',
  'MemoryZoneConfig.prefault': 'current versions have it',
  'MemoryZoneConfig.thp': 'current versions have it',
  'MemoryZoneConfig.reserve': 'current versions have it',
  'DiskConfig.queue_affinity': 'current versions have it',
  'DiskConfig.sparse': 'current versions have it',
  'DiskConfig.lock_granularity': 'current versions have it',
  'DiskConfig.disable_aio': 'current versions have it',
  'NetConfig.offload_tso': 'current versions have it',
  'NetConfig.offload_ufo': 'current versions have it',
  'NetConfig.offload_csum': 'current versions have it',
  'ConsoleConfig.pci_device_id': 'current versions have it',
  'DiskConfig.pci_device_id': 'current versions have it',
  'NetConfig.pci_device_id': 'current versions have it',
  'RngConfig.pci_device_id': 'current versions have it',
  'FsConfig.pci_device_id': 'current versions have it',
  'PmemConfig.pci_device_id': 'current versions have it',
  'VsockConfig.pci_device_id': 'current versions have it',
  'BalloonConfig.pci_device_id': 'current versions have it',
  'DeviceConfig.pci_device_id': 'current versions have it',
  'VmAddDevice.pci_device_id': 'current versions have it',
  'DiskConfig.pci_segment': 'current versions have it; all devices are on segment 0',
  'NetConfig.pci_segment': 'current versions have it; all devices are on segment 0',
  'FsConfig.pci_segment': 'current versions have it; all devices are on segment 0',
  'PmemConfig.pci_segment': 'current versions have it; all devices are on segment 0',
  'DeviceConfig.pci_segment': 'current versions have it; all devices are on segment 0',
  'VmAddDevice.pci_segment': 'current versions have it; all devices are on segment 0',
  'VsockConfig.pci_segment': 'current versions have it; all devices are on segment 0',
  'NetConfig.forwards': 'networks without rights',
  'FsConfig.directory': 'a directory served without a daemon',
  'FsConfig.readonly': 'belongs to a directory',
  'FsConfig.cache': 'belongs to a directory',
  'FsConfig.uid_map': 'belongs to a directory',
  'FsConfig.gid_map': 'belongs to a directory',
  'FsConfig.xattr': 'belongs to a directory',
  'NetConfig.host_mac': 'Cloud Hypervisor has it',
};

/** Members that only the contract or only Nephos requires, with the reason. */
const REQUIRED: Readonly<Record<string, string>> = {
  'DiskConfig.path: not needed': 'a vhost-user disk has none',
  'FsConfig.cache_size: not needed': 'has a default',
  'FsConfig.dax: not needed': 'has a default',
  'FsConfig.num_queues: not needed': 'has a default',
  'FsConfig.queue_size: not needed': 'has a default',
  'FsConfig.socket: not needed': 'a directory has none',
  'NumaConfig.guest_numa_id: not needed': 'Cloud Hypervisor takes 0',
  'NumaDistance.destination: not needed': 'Cloud Hypervisor takes 0',
  'NumaDistance.distance: not needed': 'Cloud Hypervisor takes 0',
  'SgxEpcConfig.size: not needed': 'Cloud Hypervisor takes 0',
  'VmConfig.kernel: not needed': 'current clients give `payload`',
  'CpuTopology.cores_per_die: needed': 'Cloud Hypervisor needs all four',
  'CpuTopology.dies_per_package: needed': 'Cloud Hypervisor needs all four',
  'CpuTopology.packages: needed': 'Cloud Hypervisor needs all four',
  'CpuTopology.threads_per_core: needed': 'Cloud Hypervisor needs all four',
  'DeviceNode.children: needed': 'always answered',
  'DeviceNode.id: needed': 'always answered',
  'DeviceNode.resources: needed': 'always answered',
  'VmmPingResponse.build_version: needed': 'always answered',
  'VmmPingResponse.features: needed': 'always answered',
  'VmmPingResponse.pid: needed': 'always answered',
  'VmAddDevice.path: needed': 'as in DeviceConfig',
  'VmRemoveDevice.id: needed': 'the request makes no sense without',
  'VmResizeZone.desired_ram: needed': 'the request makes no sense without',
  'VmResizeZone.id: needed': 'the request makes no sense without',
  'VmSnapshotConfig.destination_url: needed': 'the request makes no sense without',
};

function members(schema: Json | undefined, part: 'properties' | 'required'): string[] {
  const value = schema?.[part] ?? [];
  return Array.isArray(value) ? value.map(String) : Object.keys(value);
}

function missingFrom(all: readonly string[], some: readonly string[]): string[] {
  return all.filter((one) => !some.includes(one));
}

test('paths and members beyond the contract are listed with their reasons', () => {
  const contract = readContract();
  const ours = derived('everything');
  const schemas = Object.keys(contract.components.schemas);
  const found = [
    ...missingFrom(Object.keys(ours.paths), Object.keys(contract.paths))
      .filter((path) => isPinnedRoute(path.slice(1)))
      .map((name) => `path ${name}`),
    ...missingFrom(Object.keys(ours.components.schemas), schemas)
      .filter(isPinnedStruct)
      .map((name) => `schema ${name}`),
    ...schemas.flatMap((name) => {
      const known = members(contract.components.schemas[name], 'properties');
      const served = members(ours.components.schemas[name], 'properties');
      assert.deepEqual(missingFrom(known, served), [], name);
      const further = missingFrom(served, known);
      const pinned = name === 'VmConfig' ? further.filter(isPinnedMember) : further;
      return pinned.map((member) => `${name}.${member}`);
    }),
  ];
  assert.deepEqual(found.toSorted(), Object.keys(BEYOND).toSorted());
});

test('members that are required unlike in the contract are listed with their reasons', () => {
  const contract = readContract().components.schemas;
  const ours = derived('everything').components.schemas;
  const found = Object.keys(contract).flatMap((name) => {
    const theirs = members(contract[name], 'required');
    const needed = members(ours[name], 'required');
    return [
      ...missingFrom(theirs, needed).map((member) => `${name}.${member}: not needed`),
      ...missingFrom(needed, theirs).map((member) => `${name}.${member}: needed`),
    ];
  });
  assert.deepEqual(found.toSorted(), Object.keys(REQUIRED).toSorted());
});

test('every path of the contract has a route', () => {
  const paths = Object.keys(readContract().paths);
  assert.deepEqual(
    missingFrom(
      paths,
      Object.keys(ROUTES).map((name) => `/${name}`),
    ),
    [],
  );
  assert.equal(paths.length, 23);
});
