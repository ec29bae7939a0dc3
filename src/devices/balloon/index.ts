import { beyond, defaulted, optional, struct, wordDefaulted, type ValueOf } from '../../schema/field.ts';
import { flag, nested, size } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { onBus, pciDeviceId } from '../common/pci.ts';

/** The virtio balloon, which takes RAM back from the guest. */
export interface BalloonConfig extends ValueOf<typeof BalloonConfig> {}
export const BalloonConfig = struct({
  name: 'BalloonConfig',
  doc: 'The virtio balloon, which takes RAM back from the guest',
  wordsIgnored: ['id', 'iommu', 'pci_segment'],
  fields: {
    size: wordDefaulted(size('Size of the balloon in `bytes`'), () => 0),
    deflate_on_oom: defaulted(flag('Gives RAM back when the guest runs out of it'), false),
    free_page_reporting: beyond(
      optional(flag('The guest tells the host which pages are free: the host takes them back; default: off')),
    ),
    pci_device_id: pciDeviceId(),
  },
});

export const balloon = defineDevice({
  member: 'balloon',
  field: optional(nested(BalloonConfig)),
  struct: BalloonConfig,
  many: false,
  flag: 'balloon',
  ids: { fixed: '_balloon' },
  takesSlot: true,
  removable: false,
  // its size is told over QMP: `vm/observe/balloon.ts`
  plan: (config, at) => [
    {
      kind: 'device',
      props: {
        driver: 'virtio-balloon-pci',
        ...onBus(at),
        'deflate-on-oom': config.deflate_on_oom,
        'free-page-reporting': config.free_page_reporting === true,
      },
    },
  ],
});
