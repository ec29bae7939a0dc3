import { beyond, defaulted, optional, struct, wordDefaulted, type ValueOf } from '../../schema/field.ts';
import { flag, size } from '../../schema/kinds.ts';
import { pciDeviceId } from '../common/pci.ts';

/** The virtio balloon, which reclaims RAM of the guest. */
export interface BalloonConfig extends ValueOf<typeof BalloonConfig> {}
export const BalloonConfig = struct({
  name: 'BalloonConfig',
  doc: 'The virtio balloon, which reclaims RAM of the guest',
  wordsIgnored: ['id', 'iommu', 'pci_segment'],
  fields: {
    size: wordDefaulted(size('Size of the balloon in `bytes`'), () => 0),
    deflate_on_oom: defaulted(flag('Deflates when the guest runs out of RAM'), false),
    free_page_reporting: beyond(
      optional(flag('The guest reports free pages and the host frees them; default: off')),
    ),
    pci_device_id: pciDeviceId(),
  },
});
