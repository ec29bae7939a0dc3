import { defaulted, later, optional, struct, type ValueOf } from '../schema/field.ts';
import { flag, list, nested, path, text } from '../schema/kinds.ts';
import { defineDevice } from './device.ts';

/** A PCI device of the host, passed through to the guest. */
export interface DeviceConfig extends ValueOf<typeof DeviceConfig> {}
export const DeviceConfig = struct({
  name: 'DeviceConfig',
  doc: 'A PCI device of the host, passed through to the guest (VFIO)',
  fields: {
    path: path('The device in sysfs, e.g. /sys/bus/pci/devices/0000:01:00.0'),
    iommu: later(defaulted(flag('Behind the virtual IOMMU'), false)),
    id: optional(text('Name of the device', '<id>')),
  },
});

export const vfio = defineDevice({
  member: 'devices',
  field: later(optional(list(nested(DeviceConfig)))),
  struct: DeviceConfig,
  many: true,
  flag: 'device',
  ids: { prefix: '_vfio' },
  takesSlot: true,
  removable: true,
  unsaved: () => 'it is hardware, which keeps its state to itself',
});
