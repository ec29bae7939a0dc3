import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { PmemConfig } from './config.ts';
import { planPmem } from './plan.ts';

export const pmem = defineDevice({
  member: 'pmem',
  field: optional(list(nested(PmemConfig))),
  struct: PmemConfig,
  many: true,
  flag: 'pmem',
  ids: { prefix: '_pmem' },
  takesSlot: true,
  // QEMU unplugs no memory device but virtio-mem
  removable: false,
  editable: ['file', 'pci_segment'],
  // QEMU saves nothing of it, and what we do instead has to read its queue, which cannot be found behind the vIOMMU
  unsaved: ({ iommu }) => (iommu ? 'it is behind the virtual IOMMU' : undefined),
  plan: planPmem,
});
