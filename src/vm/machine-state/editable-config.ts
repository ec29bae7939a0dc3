/**
 * What may be edited in a snapshot's config.json: what is outside of the machine, and what a later boot starts from.
 * `[]` stands for any item of a list.
 */
const EDITABLE: ReadonlySet<string> = new Set([
  ...['kernel', 'initramfs', 'cmdline', 'payload'],
  ...['memory.shared', 'memory.mergeable', 'memory.zones[].shared', 'memory.zones[].mergeable'],
  ...['memory.zones[].file', 'memory.zones[].host_numa_node'],
  ...['rate_limit_groups', 'disks[].rate_limit_group'],
  ...[
    'disks[].path',
    'disks[].image_type',
    'disks[].backing_files',
    'disks[].direct',
    'disks[].disable_io_uring',
    'disks[].rate_limiter_config',
  ],
  // how the host serves the machine, of which its guest sees nothing
  ...['cpus.affinity', 'gdb', 'landlock_enable', 'landlock_rules', 'pci_segments', 'numa[].pci_segments'],
  ...['memory', 'memory.zones[]'].flatMap((at) => [`${at}.prefault`, `${at}.thp`, `${at}.reserve`]),
  ...['queue_affinity', 'lock_granularity', 'disable_aio'].map((name) => `disks[].${name}`),
  ...['disks[]', 'net[]', 'fs[]', 'pmem[]', 'devices[]', 'vsock', 'ivshmem'].map((at) => `${at}.pci_segment`),
  'ivshmem.path',
  ...[
    'pmem[].file',
    'net[].tap',
    'net[].ip',
    'net[].mask',
    'net[].mac',
    'net[].host_mac',
    'net[].fd',
    'net[].fds',
    'net[].forwards',
  ],
  ...['net[].rate_limiter_config', 'rng.src', 'vsock.socket', 'vsock.cid'],
  ...[
    'serial.mode',
    'serial.file',
    'serial.socket',
    'debug_console.mode',
    'debug_console.file',
    'console.mode',
    'console.file',
    'console.socket',
  ],
]);

/** A configuration without what may be edited. */
export function shapeOf(config: unknown, at = ''): unknown {
  if (Array.isArray(config)) return config.map((item: unknown) => shapeOf(item, `${at}[]`));
  if (typeof config !== 'object' || config === null) return config;
  const members = Object.entries(config).flatMap(([name, value]: [string, unknown]) => {
    const place = at === '' ? name : `${at}.${name}`;
    return value === undefined || EDITABLE.has(place) ? [] : [[name, shapeOf(value, place)]];
  });
  return Object.fromEntries(members) as unknown;
}

/** The first place where two shapes differ, with both values in words; undefined where they are the same. */
export function firstDifference(before: unknown, now: unknown, at = ''): string | undefined {
  if (typeof before === 'object' && before !== null && typeof now === 'object' && now !== null) {
    return differenceOfMembers(before, now, at);
  }
  return Object.is(before, now) ? undefined : `${at}: was ${shown(before)}, is ${shown(now)}`;
}

function differenceOfMembers(before: object, now: object, at: string): string | undefined {
  const [old, current] = [new Map(entriesOf(before)), new Map(entriesOf(now))];
  for (const name of new Set([...old.keys(), ...current.keys()])) {
    const place = Array.isArray(before) ? `${at}[${name}]` : at === '' ? name : `${at}.${name}`;
    const found = firstDifference(old.get(name), current.get(name), place);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** How much of a value is shown. */
const SHOWN_LENGTH = 100;

function entriesOf(value: object): [string, unknown][] {
  return Object.entries(value);
}

function shown(value: unknown): string {
  const text = value === undefined ? 'not there' : JSON.stringify(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}...` : text;
}
