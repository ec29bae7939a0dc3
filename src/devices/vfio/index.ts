import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { DeviceConfig } from './config.ts';
import { planVfio } from './plan.ts';

export const vfio = defineDevice({
  member: 'devices',
  field: optional(list(nested(DeviceConfig))),
  struct: DeviceConfig,
  many: true,
  flag: 'device',
  ids: { prefix: '_vfio' },
  takesSlot: true,
  removable: true,
  editable: ['pci_segment'],
  unsaved: () => 'it is hardware, which keeps its state to itself',
  plan: planVfio,
});
