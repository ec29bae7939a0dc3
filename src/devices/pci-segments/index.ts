import { beyond, optional, withoutEffect } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { PciSegmentConfig } from './config.ts';

export const pciSegments = defineDevice({
  member: 'pci_segments',
  field: beyond(
    withoutEffect(
      optional(list(nested(PciSegmentConfig))),
      'all devices are on PCI segment 0, which has the whole address space',
    ),
  ),
  struct: PciSegmentConfig,
  many: true,
  order: { slot: 60, config: 310, words: 160 },
  flag: 'pci-segment',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: 'all',
});
