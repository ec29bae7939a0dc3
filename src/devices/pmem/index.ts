import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd, hotAddTexts } from '../device.ts';
import { PmemConfig } from './config.ts';
import { planPmem } from './plan.ts';
import { checkPmem } from './rules.ts';

export const pmem = defineDevice({
  member: 'pmem',
  field: optional(list(nested(PmemConfig))),
  struct: PmemConfig,
  many: true,
  order: { slot: 150, config: 110, words: 60, route: 50, command: 50 },
  flag: 'pmem',
  ids: { prefix: '_pmem' },
  takesSlot: true,
  behindIommu: { onRequest: true, bySegment: true },
  // QEMU unplugs no memory device but virtio-mem
  removable: false,
  answered: { item: { always: { pci_segment: 0 }, never: { mergeable: false } } },
  hotAdd: hotAdd({
    route: 'vm.add-pmem',
    request: PmemConfig,
    texts: hotAddTexts('pmem device', 'device'),
    inContract: true,
    command: { usage: '<pmem_config>', summary: 'Add persistent memory device', noun: 'persistent memory' },
  }),
  editable: ['file', 'pci_segment'],
  // QEMU saves no state of it. The VMM reads the queue in guest memory instead, but cannot translate its addresses behind the vIOMMU
  unsaved: ({ iommu }) => (iommu ? 'it is behind the virtual IOMMU' : undefined),
  memorySize: ({ size }) => size,
  check: checkPmem,
  plan: planPmem,
});
