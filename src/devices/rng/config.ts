import { bounded, defaulted, struct, wordDefaulted, type ValueOf } from '../../schema/field.ts';
import { flag, path } from '../../schema/kinds.ts';
import { pciDeviceId } from '../common/pci.ts';
import { NOT_EMPTY } from '../common/limits.ts';

export const SOURCE = '/dev/urandom';

/** The virtio entropy device, which every VM has. */
export interface RngConfig extends ValueOf<typeof RngConfig> {}
export const RngConfig = struct({
  name: 'RngConfig',
  doc: 'The virtio entropy device, which every VM has',
  wordsIgnored: ['id', 'pci_segment'],
  keyHints: { file: 'src', filename: 'src', path: 'src', source: 'src' },
  fields: {
    src: wordDefaulted(
      bounded(
        { ...path('Source of the random bytes'), document: { type: 'string', default: SOURCE } },
        { ...NOT_EMPTY, default: SOURCE },
      ),
      () => SOURCE,
    ),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    pci_device_id: pciDeviceId(),
  },
});
