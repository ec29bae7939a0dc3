import {
  beyond,
  defaulted,
  later,
  optional,
  struct,
  withoutEffect,
  type ValueOf,
} from '../../schema/field.ts';
import { anyObject, flag, list, nested, path, text, uint } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { readIntegers } from '../common/integers.ts';
import { pciSegment } from '../common/pci.ts';

/** Why what current versions have is refused, by its member of VmConfig. */
export const NOT_IN_ENGINE = {
  user_devices: 'Userspace devices are not supported: QEMU 10 cannot be a client of vfio-user',
  vdpa: 'vDPA devices are not supported: no test machine has one to try them with',
  generic_vhost_user:
    'Generic vhost-user devices are not supported: QEMU has vhost-user front-ends for disks, fs and net only',
} as const;

/** A PCI device that another process emulates (vfio-user). */
export interface UserDeviceConfig extends ValueOf<typeof UserDeviceConfig> {}
export const UserDeviceConfig = struct({
  name: 'UserDeviceConfig',
  doc: 'A PCI device that another process emulates (vfio-user); refused',
  wordsIgnored: ['pci_device_id'],
  fields: {
    socket: path('Socket of the process'),
    id: optional(text('Name of the device', '<id>')),
    pci_segment: pciSegment(),
  },
});

/** A virtio device that the host's hardware serves (vDPA). */
export interface VdpaConfig extends ValueOf<typeof VdpaConfig> {}
export const VdpaConfig = struct({
  name: 'VdpaConfig',
  doc: 'A virtio device that the host’s hardware serves (vDPA); refused',
  wordsIgnored: ['pci_device_id'],
  fields: {
    path: path('The device, e.g. /dev/vhost-vdpa-0'),
    num_queues: defaulted(uint('Queues', { bits: 64 }), 1),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    id: optional(text('Name of the device', '<id>')),
    pci_segment: pciSegment(),
  },
});

/** A virtio device of any kind that a vhost-user back-end serves. */
export interface GenericVhostUserConfig extends ValueOf<typeof GenericVhostUserConfig> {}
export const GenericVhostUserConfig = struct({
  name: 'GenericVhostUserConfig',
  doc: 'A virtio device of any kind that a vhost-user back-end serves; refused',
  aliases: { virtio_id: 'device_type' },
  wordsIgnored: ['pci_device_id'],
  wordsMeant: { virtio_id: 'device_type' },
  fields: {
    socket: path('Socket of the back-end'),
    device_type: uint('Kind of the device, as virtio numbers them', { bits: 32 }),
    queue_sizes: optional(list(uint('Descriptors of a queue', { bits: 16 }), readIntegers, '[<number>,...]')),
    id: optional(text('Name of the device', '<id>')),
    pci_segment: pciSegment(),
  },
});

export const userDevice = defineDevice({
  member: 'user_devices',
  field: beyond(later(optional(list(nested(UserDeviceConfig))), NOT_IN_ENGINE.user_devices)),
  struct: UserDeviceConfig,
  many: true,
  flag: 'user-device',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

export const vdpa = defineDevice({
  member: 'vdpa',
  field: beyond(later(optional(list(nested(VdpaConfig))), NOT_IN_ENGINE.vdpa)),
  struct: VdpaConfig,
  many: true,
  flag: 'vdpa',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

export const genericVhostUser = defineDevice({
  member: 'generic_vhost_user',
  field: beyond(later(optional(list(nested(GenericVhostUserConfig))), NOT_IN_ENGINE.generic_vhost_user)),
  struct: GenericVhostUserConfig,
  many: true,
  flag: 'generic-vhost-user',
  ids: undefined,
  takesSlot: false,
  removable: false,
});

export const pvmemcontrol = defineDevice({
  member: 'pvmemcontrol',
  field: beyond(
    withoutEffect(
      optional(anyObject('A device by which the guest says what its memory is for; it gets none')),
      'QEMU has no such device: the guest goes without',
    ),
  ),
  struct: undefined,
  many: false,
  flag: 'pvmemcontrol',
  ids: undefined,
  takesSlot: false,
  removable: false,
});
