import {
  defaulted,
  later,
  optional,
  struct,
  unworded,
  wordDefaulted,
  type ValueOf,
} from '../schema/field.ts';
import { choice, flag, list, nested, path, size, text, uint } from '../schema/kinds.ts';
import { defineDevice } from './device.ts';
import type { Step } from './step.ts';

/** Size of the RAM where nothing is said, in `bytes`. */
export const DEFAULT_MEMORY = 512 * 2 ** 20;

const ramSize = (doc: string) => wordDefaulted(size(doc, { default: '512 MB' }), () => DEFAULT_MEMORY);

/** A part of the RAM with a backing of its own; zones are used where `memory.size` is 0. */
export interface MemoryZoneConfig extends ValueOf<typeof MemoryZoneConfig> {}
export const MemoryZoneConfig = struct({
  name: 'MemoryZoneConfig',
  doc: 'A part of the RAM with a backing of its own; needs memory.size to be 0',
  fields: {
    id: text('Name of the zone', '<zone_id>'),
    size: ramSize('Size in `bytes`'),
    file: optional(path('File or directory that backs the zone')),
    // only the document has it: the original takes memory.mergeable for all zones
    mergeable: unworded(defaulted(flag('Pages may be merged with equal ones (KSM)'), false)),
    shared: defaulted(flag('Mapped shared, so that other processes can map it as well'), false),
    hugepages: defaulted(flag('Backed by huge pages'), false),
    hugepage_size: optional(size('Size of a huge page in `bytes`')),
    host_numa_node: optional(
      uint('NUMA node of the host to take the pages from', { bits: 32, format: 'int32' }),
    ),
    hotplug_size: optional(size('Room to grow in `bytes`')),
    hotplugged_size: optional(size('Part of the room in use from the start, in `bytes`')),
  },
});

export interface MemoryConfig extends ValueOf<typeof MemoryConfig> {}
export const MemoryConfig = struct({
  name: 'MemoryConfig',
  doc: 'RAM of the guest',
  wordsIgnored: ['file'],
  fields: {
    size: ramSize('Size in `bytes`; 0 where zones say it'),
    mergeable: defaulted(flag('Pages may be merged with equal ones (KSM)'), false),
    hotplug_method: later(
      defaulted(
        choice('How RAM is added to a running guest', ['Acpi', 'VirtioMem'], {
          document: { type: 'string', default: 'acpi' },
          aliases: { 'virtio-mem': 'VirtioMem' },
        }),
        'Acpi',
      ),
    ),
    hotplug_size: later(optional(size('Room to grow in `bytes`'))),
    hotplugged_size: later(optional(size('Part of the room in use from the start, in `bytes`'))),
    shared: defaulted(flag('Mapped shared, so that vhost-user back-ends can map it as well'), false),
    hugepages: defaulted(flag('Backed by huge pages'), false),
    hugepage_size: optional(size('Size of a huge page in `bytes`; default: the host’s')),
    zones: later(optional(list(nested(MemoryZoneConfig)))),
  },
});

export const memory = defineDevice({
  member: 'memory',
  field: defaulted(nested(MemoryConfig), { size: DEFAULT_MEMORY }),
  struct: MemoryConfig,
  many: false,
  flag: 'memory',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

/** The object that holds the RAM. */
export const RAM_ID = 'ram';

/**
 * The RAM of the machine. It is a memfd that other processes can map (vhost-user back-ends, snapshots),
 * except where its pages are to be merged: KSM looks at private pages only.
 */
export function planMemory(config: MemoryConfig): readonly Step[] {
  const { size, shared, mergeable, hugepages, hugepage_size: pageSize } = config;
  if (mergeable && !shared && !hugepages) {
    return [
      {
        kind: 'object',
        props: { 'qom-type': 'memory-backend-ram', id: RAM_ID, size, share: false, merge: true },
      },
    ];
  }
  return [
    {
      kind: 'object',
      props: {
        'qom-type': 'memory-backend-memfd',
        id: RAM_ID,
        size,
        share: true,
        merge: mergeable,
        ...(hugepages ? { hugetlb: true } : {}),
        ...(pageSize === undefined ? {} : { hugetlbsize: pageSize }),
      },
    },
  ];
}
