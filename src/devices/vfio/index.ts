import { optional } from '../../schema/field.ts';
import { list, nested } from '../../schema/kinds.ts';
import { defineDevice, hotAdd } from '../device.ts';
import { DeviceConfig, VmAddDevice } from './config.ts';
import { planVfio } from './plan.ts';
import { checkVfio, checkVfioPaths } from './rules.ts';

export const vfio = defineDevice({
  member: 'devices',
  field: optional(list(nested(DeviceConfig))),
  struct: DeviceConfig,
  many: true,
  order: { slot: 220, config: 140, words: 90, route: 10, command: 10 },
  flag: 'device',
  ids: { prefix: '_vfio' },
  takesSlot: true,
  treeNode: 'function',
  behindIommu: { onRequest: true, bySegment: true },
  isHostHardware: true,
  removable: true,
  answered: { item: { always: { pci_segment: 0 } } },
  hotAdd: hotAdd({
    route: 'vm.add-device',
    request: VmAddDevice,
    texts: {
      summary: 'Add a new device to the VM',
      requestDoc: 'The path of the new device',
      answers: {
        200: 'The new device was successfully added to the VM instance.',
        404: 'The new device could not be added to the VM instance.',
      },
    },
    inContract: true,
    command: { usage: '<device_config>', summary: 'Add VFIO device', noun: 'device' },
  }),
  editable: ['pci_segment'],
  unsaved: () => 'it is hardware, which keeps its state to itself',
  check: checkVfio,
  checkList: checkVfioPaths,
  plan: planVfio,
});
