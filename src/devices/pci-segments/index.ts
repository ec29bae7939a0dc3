import { beyond, defaulted, optional, struct, withoutEffect, type ValueOf } from '../../schema/field.ts';
import { list, nested, uint } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';

const weight = (doc: string) => defaulted(uint(doc, { bits: 32, min: 1 }), 1);

/** How the address space for BARs is shared out among PCI segments. */
export interface PciSegmentConfig extends ValueOf<typeof PciSegmentConfig> {}
export const PciSegmentConfig = struct({
  name: 'PciSegmentConfig',
  doc: 'Share of a PCI segment in the address space for BARs; checked only',
  fields: {
    pci_segment: defaulted(uint('Number of the segment', { bits: 16 }), 0),
    mmio32_aperture_weight: weight('Share in the space below 4 GiB'),
    mmio64_aperture_weight: weight('Share in the space above'),
  },
});

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
  flag: 'pci-segment',
  ids: undefined,
  takesSlot: false,
  removable: false,
  editable: 'all',
});
