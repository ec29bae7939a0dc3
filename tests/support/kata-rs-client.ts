/*
 * The structs that Kata's runtime-rs reads answers into (its crate `ch-config`, 4.1), by the rules of serde: a member with `!` has no
 * default and must be there, one with `?` may be null, any other may be absent but is never null. Unknown members are passed over,
 * except where a struct denies them.
 */

const STRUCTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  PciDeviceInfo: { id: 'string!', bdf: 'string!' },
  VmInfo: { config: 'VmConfig!', state: 'Created|Running|Shutdown|Paused!', memory_actual_size: 'u64?' },
  VmConfig: {
    cpus: 'CpusConfig',
    memory: 'MemoryConfig',
    kernel: 'PathConfig?',
    initramfs: 'PathConfig?',
    cmdline: 'CmdlineConfig',
    payload: 'PayloadConfig?',
    disks: 'DiskConfig[]?',
    net: 'NetConfig[]?',
    rng: 'RngConfig',
    balloon: 'BalloonConfig?',
    fs: 'FsConfig[]?',
    pmem: 'PmemConfig[]?',
    serial: 'ConsoleConfig!',
    console: 'ConsoleConfig!',
    devices: 'DeviceConfig[]?',
    vsock: 'VsockConfig?',
    iommu: 'bool',
    watchdog: 'bool',
    platform: 'PlatformConfig?',
  },
  CpusConfig: {
    boot_vcpus: 'u32!',
    max_vcpus: 'u32!',
    topology: 'CpuTopology?',
    kvm_hyperv: 'bool',
    nested: 'bool?',
    max_phys_bits: 'u8!',
    features: 'CpuFeatures',
  },
  CpuFeatures: { amx: 'bool' },
  CpuTopology: {
    threads_per_core: 'u16!',
    cores_per_die: 'u16!',
    dies_per_package: 'u16!',
    packages: 'u16!',
  },
  MemoryConfig: {
    size: 'u64!',
    mergeable: 'bool',
    hotplug_method: 'Acpi|VirtioMem',
    hotplug_size: 'u64?',
    hotplugged_size: 'u64?',
    shared: 'bool',
    hugepages: 'bool',
    hugepage_size: 'u64?',
    prefault: 'bool',
    zones: 'MemoryZoneConfig[]?',
  },
  MemoryZoneConfig: {
    id: 'string!',
    size: 'u64!',
    file: 'string?',
    shared: 'bool',
    hugepages: 'bool',
    hugepage_size: 'u64?',
    host_numa_node: 'u32?',
    hotplug_size: 'u64?',
    hotplugged_size: 'u64?',
    prefault: 'bool',
  },
  PathConfig: { path: 'string!' },
  CmdlineConfig: { args: 'string!' },
  PayloadConfig: { firmware: 'string?', kernel: 'string?', cmdline: 'string?', initramfs: 'string?' },
  DiskConfig: {
    path: 'string?',
    readonly: 'bool',
    direct: 'bool',
    iommu: 'bool',
    num_queues: 'u64!',
    queue_size: 'u16!',
    vhost_user: 'bool',
    vhost_socket: 'string?',
    rate_limiter_config: 'RateLimiterConfig?',
    id: 'string?',
    disable_io_uring: 'bool',
    pci_segment: 'u16',
    sparse: 'bool',
    image_type: 'FixedVhd|Qcow2|Raw|Vhdx|Unknown',
  },
  RateLimiterConfig: { bandwidth: 'TokenBucketConfig?', ops: 'TokenBucketConfig?' },
  TokenBucketConfig: { size: 'u64!', one_time_burst: 'u64?', refill_time: 'u64!' },
  NetConfig: {
    tap: 'string?',
    ip: 'ipv4!',
    mask: 'ipv4!',
    mac: 'mac!',
    host_mac: 'mac?',
    mtu: 'u16?',
    iommu: 'bool',
    num_queues: 'u64!',
    queue_size: 'u16!',
    vhost_user: 'bool',
    vhost_socket: 'string?',
    vhost_mode: 'Client|Server',
    id: 'string?',
    fds: 'i32[]?',
    rate_limiter_config: 'RateLimiterConfig?',
    pci_segment: 'u16',
  },
  RngConfig: { src: 'string!', iommu: 'bool' },
  BalloonConfig: { size: 'u64!', deflate_on_oom: 'bool', free_page_reporting: 'bool' },
  FsConfig: {
    tag: 'string!',
    socket: 'string!',
    num_queues: 'u64!',
    queue_size: 'u16!',
    id: 'string?',
    pci_segment: 'u16',
  },
  PmemConfig: {
    file: 'string!',
    size: 'u64?',
    iommu: 'bool',
    discard_writes: 'bool',
    id: 'string?',
    pci_segment: 'u16',
  },
  ConsoleConfig: { file: 'string?', mode: 'Off|Pty|Tty|File|Null!', iommu: 'bool' },
  DeviceConfig: { path: 'string!', iommu: 'bool', id: 'string?', pci_segment: 'u16' },
  VsockConfig: { cid: 'u32!', socket: 'string!', iommu: 'bool', id: 'string?', pci_segment: 'u16' },
  PlatformConfig: {
    num_pci_segments: 'u16!',
    iommu_segments: 'u16[]?',
    serial_number: 'string?',
    uuid: 'string?',
    oem_strings: 'string[]?',
    tdx: 'bool',
  },
};

/** Structs that fail on a member that they do not know. */
const STRICT = new Set(['RateLimiterConfig', 'TokenBucketConfig']);

/** Reads an answer as the struct `name`; returns the places that runtime-rs fails at. */
export function runtimeRsProblems(name: string, answer: unknown): string[] {
  return problemsOf(`${name}!`, answer, name);
}

function problemsOf(type: string, value: unknown, at: string): string[] {
  if (type.endsWith('?')) {
    return value === undefined || value === null ? [] : problemsOf(type.slice(0, -1), value, at);
  }
  if (value === undefined) return type.endsWith('!') ? [`${at}: has no default`] : [];
  const plain = type.endsWith('!') ? type.slice(0, -1) : type;
  if (plain.endsWith('[]')) {
    if (!Array.isArray(value)) return [`${at}: is no list`];
    return value.flatMap((item, i) => problemsOf(`${plain.slice(0, -2)}!`, item, `${at}.${i}`));
  }
  const members = STRUCTS[plain];
  if (members !== undefined) return ofMembers(plain, value, at);
  return isOf(plain, value) ? [] : [`${at}: is no ${plain}: ${JSON.stringify(value)}`];
}

function ofMembers(name: string, value: unknown, at: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${at}: is no object`];
  const members = STRUCTS[name] ?? {};
  const unknown = Object.keys(value).filter((key) => STRICT.has(name) && !(key in members));
  return [
    ...unknown.map((key) => `${at}.${key}: is unknown`),
    ...Object.entries(members).flatMap(([key, type]) =>
      problemsOf(type, Reflect.get(value, key), `${at}.${key}`),
    ),
  ];
}

const PATTERNS: Readonly<Record<string, RegExp>> = {
  ipv4: /^(\d{1,3}\.){3}\d{1,3}$/,
  mac: /^([\da-f]{2}:){5}[\da-f]{2}$/i,
};

function isOf(type: string, value: unknown): boolean {
  if (type === 'bool') return typeof value === 'boolean';
  if (type === 'string') return typeof value === 'string';
  const pattern = PATTERNS[type];
  if (pattern !== undefined) return typeof value === 'string' && pattern.test(value);
  const bits = /^([ui])(\d+)$/.exec(type);
  if (bits === null) return typeof value === 'string' && type.split('|').includes(value);
  const [, sign, width] = bits;
  const limit = 2 ** (Number(width) - (sign === 'i' ? 1 : 0));
  return Number.isInteger(value) && Number(value) < limit && Number(value) >= (sign === 'i' ? -limit : 0);
}
