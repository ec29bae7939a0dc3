import {
  bounded,
  beyond,
  defaulted,
  documentedAs,
  optional,
  struct,
  type ValueOf,
} from '../../schema/field.ts';
import { flag, path, text, uint } from '../../schema/kinds.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** Group of NVIDIA devices: four bits of a PCI capability (QEMU, hw/vfio/pci-quirks.c). */
export const CLIQUE = { maximum: 15 } as const;

/** A PCI device of the host, passed through to the guest. */
export interface DeviceConfig extends ValueOf<typeof DeviceConfig> {}
export const DeviceConfig = struct({
  name: 'DeviceConfig',
  doc: 'A PCI device of the host, passed through to the guest (VFIO)',
  wordsIgnored: ['fd', 'x_exclude_mmap_bars'],
  keyHints: { host: 'path', sysfsdev: 'path' },
  fields: {
    path: path('The device in sysfs, e.g. /sys/bus/pci/devices/0000:01:00.0'),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
    x_nv_gpudirect_clique: beyond(
      optional(
        bounded(uint('Group of NVIDIA devices that may reach each other (GPUDirect)', { bits: 8 }), CLIQUE),
      ),
    ),
  },
});

/** DeviceConfig under its name in requests in the contract's document, which does not require `path`. */
export interface VmAddDevice extends ValueOf<typeof VmAddDevice> {}
export const VmAddDevice = struct({
  name: 'VmAddDevice',
  doc: 'A PCI device of the host to pass through',
  fields: { ...DeviceConfig.fields, path: documentedAs('optional', DeviceConfig.fields.path) },
});
