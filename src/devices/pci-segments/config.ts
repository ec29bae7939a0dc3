import { defaulted, struct, type ValueOf } from '../../schema/field.ts';
import { uint } from '../../schema/kinds.ts';

const weight = (doc: string) => defaulted(uint(doc, { bits: 32, min: 1 }), 1);

/** Share of one PCI segment in the address space for BARs. */
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
