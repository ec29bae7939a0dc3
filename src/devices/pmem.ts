import { defaulted, later, optional, struct, type ValueOf } from '../schema/field.ts';
import { flag, list, nested, path, size, text } from '../schema/kinds.ts';
import { defineDevice } from './device.ts';

/** A virtio-pmem device: a file of the host that the guest sees as persistent memory. */
export interface PmemConfig extends ValueOf<typeof PmemConfig> {}
export const PmemConfig = struct({
  name: 'PmemConfig',
  doc: 'A virtio-pmem device: a file of the host that the guest sees as persistent memory',
  fields: {
    file: path('File, or directory for a temporary one'),
    size: optional(size('Size in `bytes`, a multiple of 2 MiB; default: the file’s')),
    iommu: later(defaulted(flag('Behind the virtual IOMMU'), false)),
    mergeable: defaulted(flag('Pages may be merged with equal ones (KSM)'), false),
    discard_writes: defaulted(flag('What the guest writes never reaches the file'), false),
    id: optional(text('Name of the device', '<id>')),
  },
});

export const pmem = defineDevice({
  member: 'pmem',
  field: later(optional(list(nested(PmemConfig)))),
  struct: PmemConfig,
  many: true,
  flag: 'pmem',
  ids: { prefix: '_pmem' },
  takesSlot: true,
  removable: true,
});
