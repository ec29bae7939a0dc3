import { defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, list, path, text, uint } from '../../schema/kinds.ts';
import { readIntegers } from '../common/integer-list.ts';
import { pciSegment } from '../common/pci.ts';

/** Reasons of the refusal of devices of current versions, by member of VmConfig. */
export const UNSUPPORTED = {
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
  keyHints: { virtio_id: 'device_type' },
  fields: {
    socket: path('Socket of the back-end'),
    device_type: uint('Kind of the device, as virtio numbers them', { bits: 32 }),
    queue_sizes: optional(list(uint('Descriptors of a queue', { bits: 16 }), readIntegers, '[<number>,...]')),
    id: optional(text('Name of the device', '<id>')),
    pci_segment: pciSegment(),
  },
});
