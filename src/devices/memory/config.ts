import {
  bounded,
  beyond,
  defaulted,
  optional,
  struct,
  wordDefaulted,
  type Bounds,
  type ValueOf,
} from '../../schema/field.ts';
import { choice, flag, list, nested, path, size, text, uint } from '../../schema/kinds.ts';
import { NOT_EMPTY, RAM_SIZE } from '../common/limits.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** Size of a memory zone, in `bytes`. */
const ZONE_SIZE = { minimum: PAGE_BYTES, multipleOf: PAGE_BYTES } as const;

/** RAM that can be added, in `bytes`. */
const HOTPLUG_SIZE = { minimum: 1 } as const;

/**
 * Unit of `hotplug_size` and of a DIMM, in `bytes`: Linux adds RAM in blocks of this size (arch/x86/include/asm/sparsemem.h,
 * SECTION_SIZE_BITS). Cloud Hypervisor has the same unit.
 */
export const MEMORY_BLOCK = 128 * 2 ** 20;

/** DIMMs that can be added to a running machine, as in Cloud Hypervisor (vmm/src/memory_manager.rs, HOTPLUG_COUNT). */
export const DIMMS_MAX = 8;

/** Size of the RAM by default, in `bytes`. */
export const DEFAULT_MEMORY = 512 * 2 ** 20;

const ramSize = (doc: string, bounds: Bounds) =>
  bounded(
    wordDefaulted(size(doc, { default: '512 MB' }), () => DEFAULT_MEMORY),
    { ...bounds, default: DEFAULT_MEMORY },
  );
const growth = (doc: string) => optional(bounded(size(doc), HOTPLUG_SIZE));

/** A part of the RAM with a backing of its own; zones are used if `memory.size` is 0. */
export interface MemoryZoneConfig extends ValueOf<typeof MemoryZoneConfig> {}
export const MemoryZoneConfig = struct({
  name: 'MemoryZoneConfig',
  doc: 'A part of the RAM with a backing of its own; needs memory.size to be 0',
  keyHints: { mem: 'size', 'mem-path': 'file', path: 'file', share: 'shared' },
  fields: {
    id: bounded(text('Name of the zone', '<zone_id>'), NOT_EMPTY),
    size: ramSize('Size in `bytes`', ZONE_SIZE),
    file: optional(path('File or directory that backs the zone')),
    mergeable: defaulted(flag('Pages may be merged with equal ones (KSM)'), false),
    shared: defaulted(flag('Mapped shared, so that other processes can map it as well'), false),
    hugepages: defaulted(flag('Backed by huge pages'), false),
    hugepage_size: optional(size('Size of a huge page in `bytes`')),
    host_numa_node: optional(
      uint('NUMA node of the host that the pages are on', { bits: 32, format: 'int32' }),
    ),
    hotplug_size: growth('RAM that can be added, in `bytes`'),
    hotplugged_size: optional(size('Part of hotplug_size in use from the start, in `bytes`')),
    prefault: beyond(optional(flag('All pages are allocated at boot, not at their first use'))),
    thp: beyond(
      optional(flag('Transparent huge pages for the RAM; off for one zone is off for all RAM; default: on')),
    ),
    reserve: beyond(optional(flag('Swap space is reserved for the pages; default: on'))),
  },
});

export interface MemoryConfig extends ValueOf<typeof MemoryConfig> {}
export const MemoryConfig = struct({
  name: 'MemoryConfig',
  doc: 'RAM of the guest',
  wordsIgnored: ['file'],
  keyHints: {
    max: 'hotplug_size',
    maxmem: 'hotplug_size',
    mem: 'size',
    prealloc: 'prefault',
    share: 'shared',
  },
  fields: {
    size: ramSize('Size in `bytes`; 0 if zones have the sizes', RAM_SIZE),
    mergeable: defaulted(flag('Pages may be merged with equal ones (KSM)'), false),
    hotplug_method: defaulted(
      choice('Method by which RAM is added to a running guest', ['Acpi', 'VirtioMem'], {
        document: { type: 'string', default: 'acpi' },
        aliases: { 'virtio-mem': 'VirtioMem' },
      }),
      'Acpi',
    ),
    hotplug_size: growth('RAM that can be added, in `bytes`'),
    hotplugged_size: optional(size('Part of hotplug_size in use from the start, in `bytes`')),
    shared: defaulted(flag('Mapped shared, so that vhost-user back-ends can map it as well'), false),
    hugepages: defaulted(flag('Backed by huge pages'), false),
    hugepage_size: optional(size('Size of a huge page in `bytes`; default: the host’s')),
    prefault: beyond(optional(flag('All pages are allocated at boot, not at their first use'))),
    thp: beyond(
      optional(flag('Transparent huge pages for the RAM; off for one zone is off for all RAM; default: on')),
    ),
    reserve: beyond(optional(flag('Swap space is reserved for the pages; default: on'))),
    zones: optional(list(nested(MemoryZoneConfig))),
  },
});
