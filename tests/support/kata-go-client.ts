/**
 * Types of the client that Kata's Go runtime generates from the API document of Cloud Hypervisor v51. Its decoder fails on
 * a value of another type, a number out of range and a required member that is absent.
 */
const STRUCTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  VmmPingResponse: { build_version: 'string', version: 'string!', pid: 'int64', features: 'string[]' },
  PciDeviceInfo: { id: 'string!', bdf: 'string!' },
  VmInfo: {
    config: 'VmConfig!',
    state: 'string!',
    memory_actual_size: 'int64',
    device_tree: 'DeviceNode{}',
  },
  DeviceNode: { id: 'string', resources: 'object[]', children: 'string[]', pci_bdf: 'string' },
  VmConfig: {
    cpus: 'CpusConfig',
    memory: 'MemoryConfig',
    payload: 'PayloadConfig!',
    rate_limit_groups: 'RateLimitGroupConfig[]',
    disks: 'DiskConfig[]',
    net: 'NetConfig[]',
    rng: 'RngConfig',
    balloon: 'BalloonConfig',
    fs: 'FsConfig[]',
    pmem: 'PmemConfig[]',
    serial: 'ConsoleConfig',
    console: 'ConsoleConfig',
    debug_console: 'DebugConsoleConfig',
    devices: 'DeviceConfig[]',
    vsock: 'VsockConfig',
    numa: 'NumaConfig[]',
    iommu: 'boolean',
    watchdog: 'boolean',
    pvpanic: 'boolean',
    platform: 'PlatformConfig',
    tpm: 'TpmConfig',
    landlock_enable: 'boolean',
  },
  CpusConfig: {
    boot_vcpus: 'int32!',
    max_vcpus: 'int32!',
    topology: 'CpuTopology',
    kvm_hyperv: 'boolean',
    max_phys_bits: 'int32',
    nested: 'boolean',
    affinity: 'CpuAffinity[]',
    features: 'CpuFeatures',
  },
  CpuAffinity: { vcpu: 'int32!', host_cpus: 'int32[]!' },
  CpuFeatures: { amx: 'boolean' },
  CpuTopology: {
    threads_per_core: 'int32',
    cores_per_die: 'int32',
    dies_per_package: 'int32',
    packages: 'int32',
  },
  MemoryConfig: {
    size: 'int64!',
    hotplug_size: 'int64',
    hotplugged_size: 'int64',
    mergeable: 'boolean',
    hotplug_method: 'string',
    shared: 'boolean',
    hugepages: 'boolean',
    hugepage_size: 'int64',
    prefault: 'boolean',
    thp: 'boolean',
    zones: 'MemoryZoneConfig[]',
  },
  MemoryZoneConfig: {
    id: 'string!',
    size: 'int64!',
    file: 'string',
    mergeable: 'boolean',
    shared: 'boolean',
    hugepages: 'boolean',
    hugepage_size: 'int64',
    host_numa_node: 'int32',
    hotplug_size: 'int64',
    hotplugged_size: 'int64',
    prefault: 'boolean',
  },
  PayloadConfig: {
    firmware: 'string',
    kernel: 'string',
    cmdline: 'string',
    initramfs: 'string',
    igvm: 'string',
    host_data: 'string',
  },
  RateLimitGroupConfig: { id: 'string!', rate_limiter_config: 'RateLimiterConfig!' },
  RateLimiterConfig: { bandwidth: 'TokenBucket', ops: 'TokenBucket' },
  TokenBucket: { size: 'int64!', one_time_burst: 'int64', refill_time: 'int64!' },
  DiskConfig: {
    path: 'string',
    readonly: 'boolean',
    direct: 'boolean',
    iommu: 'boolean',
    num_queues: 'int32',
    queue_size: 'int32',
    vhost_user: 'boolean',
    vhost_socket: 'string',
    rate_limiter_config: 'RateLimiterConfig',
    pci_segment: 'int32',
    id: 'string',
    serial: 'string',
    rate_limit_group: 'string',
    queue_affinity: 'VirtQueueAffinity[]',
    backing_files: 'boolean',
    sparse: 'boolean',
    image_type: 'string',
  },
  VirtQueueAffinity: { queue_index: 'int32!', host_cpus: 'int32[]!' },
  NetConfig: {
    tap: 'string',
    ip: 'string',
    mask: 'string',
    mac: 'string',
    host_mac: 'string',
    mtu: 'int32',
    iommu: 'boolean',
    num_queues: 'int32',
    queue_size: 'int32',
    vhost_user: 'boolean',
    vhost_socket: 'string',
    vhost_mode: 'string',
    id: 'string',
    pci_segment: 'int32',
    rate_limiter_config: 'RateLimiterConfig',
    offload_tso: 'boolean',
    offload_ufo: 'boolean',
    offload_csum: 'boolean',
  },
  RngConfig: { src: 'string!', iommu: 'boolean' },
  BalloonConfig: { size: 'int64!', deflate_on_oom: 'boolean', free_page_reporting: 'boolean' },
  FsConfig: {
    tag: 'string!',
    socket: 'string!',
    num_queues: 'int32!',
    queue_size: 'int32!',
    pci_segment: 'int32',
    id: 'string',
  },
  PmemConfig: {
    file: 'string!',
    size: 'int64',
    iommu: 'boolean',
    discard_writes: 'boolean',
    pci_segment: 'int32',
    id: 'string',
  },
  ConsoleConfig: { file: 'string', socket: 'string', mode: 'string!', iommu: 'boolean' },
  DebugConsoleConfig: { file: 'string', mode: 'string!', iobase: 'int32' },
  DeviceConfig: {
    path: 'string!',
    iommu: 'boolean',
    pci_segment: 'int32',
    id: 'string',
    x_nv_gpudirect_clique: 'int32',
  },
  VsockConfig: { cid: 'int64!', socket: 'string!', iommu: 'boolean', pci_segment: 'int32', id: 'string' },
  NumaConfig: {
    guest_numa_id: 'int32!',
    cpus: 'int32[]',
    distances: 'NumaDistance[]',
    memory_zones: 'string[]',
    pci_segments: 'int32[]',
    device_id: 'string',
  },
  NumaDistance: { destination: 'int32!', distance: 'int32!' },
  PlatformConfig: {
    num_pci_segments: 'int32',
    iommu_segments: 'int32[]',
    iommu_address_width: 'int32',
    serial_number: 'string',
    uuid: 'string',
    oem_strings: 'string[]',
    tdx: 'boolean',
    sev_snp: 'boolean',
  },
  TpmConfig: { socket: 'string!' },
};

/** Place of a value, and its fault. */
type Problem = string;

/** Decodes an answer as the struct `name`; returns the places that the generated decoder fails at. */
export function decodeProblems(name: string, answer: unknown): Problem[] {
  return problemsOf({ type: `${name}!`, value: answer, at: name, onUnknown: () => undefined });
}

/** Returns the members of an answer that the generated client does not know, as `Struct.member`. */
export function unknownTo(name: string, answer: unknown): string[] {
  const found = new Set<string>();
  problemsOf({ type: name, value: answer, at: name, onUnknown: (member) => found.add(member) });
  return [...found].toSorted();
}

interface Decoding {
  readonly type: string;
  readonly value: unknown;
  readonly at: string;
  readonly onUnknown: (member: string) => void;
}

function problemsOf(decoding: Decoding): Problem[] {
  const { type, value, at } = decoding;
  if (type.endsWith('!')) {
    if (value === undefined) return [`${at}: is required`];
    return problemsOf({ ...decoding, type: type.slice(0, -1) });
  }
  if (value === undefined) return [];
  if (type.endsWith('[]')) return Array.isArray(value) ? ofItems(decoding, value, 2) : [`${at}: is no list`];
  if (type.endsWith('{}')) return isObject(value) ? ofItems(decoding, value, 2) : [`${at}: is no object`];
  const members = STRUCTS[type];
  if (members === undefined ? isOf(type, value) : isObject(value)) return ofMembers(decoding, members);
  return [`${at}: is no ${type}: ${JSON.stringify(value)}`];
}

/** Decodes the items of a list or a map, whose type ends with a mark of `length` characters. */
function ofItems(decoding: Decoding, items: object, length: number): Problem[] {
  const type = decoding.type.slice(0, -length);
  return Object.entries(items).flatMap(([key, value]: [string, unknown]) =>
    problemsOf({ ...decoding, type, value, at: `${decoding.at}.${key}` }),
  );
}

function ofMembers(decoding: Decoding, members: Readonly<Record<string, string>> = {}): Problem[] {
  const { type, value, at, onUnknown } = decoding;
  if (!isObject(value) || !(type in STRUCTS)) return [];
  for (const key of Object.keys(value)) if (!(key in members)) onUnknown(`${type}.${key}`);
  return Object.entries(members).flatMap(([key, inner]) =>
    problemsOf({ ...decoding, type: inner, value: value[key], at: `${at}.${key}` }),
  );
}

function isOf(type: string, value: unknown): boolean {
  switch (type) {
    case 'string':
    case 'boolean':
      return typeof value === type;
    case 'int32':
      return Number.isInteger(value) && Math.abs(Number(value)) < 2 ** 31;
    case 'int64':
      return Number.isSafeInteger(value);
    case 'object':
      return isObject(value);
    default:
      throw new Error(`the client has no type ${type}`);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
