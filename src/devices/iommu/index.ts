import { defaulted } from '../../schema/field.ts';
import { flag } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { onBus } from '../common/pci.ts';

/** Virtual IOMMU. Devices with `iommu` are behind it; on the command line, one such device adds it. */
export const iommu = defineDevice({
  member: 'iommu',
  field: defaulted(flag('A virtual IOMMU, for the devices with `iommu`'), false),
  struct: undefined,
  many: false,
  order: { slot: 230, config: 160 },
  flag: undefined,
  ids: { fixed: '_iommu' },
  takesSlot: true,
  // QEMU connects a passed-through device to the vIOMMU when it makes the device
  madeFirst: true,
  removable: false,
  plan: (_, at) => [{ kind: 'device', props: { driver: 'virtio-iommu-pci', ...onBus(at) } }],
});
