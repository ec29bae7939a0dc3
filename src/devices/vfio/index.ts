import { bounded, beyond, defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, list, nested, path, text, uint } from '../../schema/kinds.ts';
import { defineDevice, type PlanContext } from '../device.ts';
import { onSlot, pciDeviceId, pciSegment } from '../common/pci.ts';
import { CLIQUE, NOT_EMPTY } from '../common/limits.ts';

/** A PCI device of the host, passed through to the guest. */
export interface DeviceConfig extends ValueOf<typeof DeviceConfig> {}
export const DeviceConfig = struct({
  name: 'DeviceConfig',
  doc: 'A PCI device of the host, passed through to the guest (VFIO)',
  wordsIgnored: ['fd', 'x_exclude_mmap_bars'],
  wordsMeant: { host: 'path', sysfsdev: 'path' },
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

/** A device of the host that was found fit to be passed through. */
export interface VfioFacts {
  /** its folder in sysfs, without links */
  readonly sysfs: string;
}

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
  plan: ({ x_nv_gpudirect_clique: clique }, at: PlanContext<VfioFacts>) => [
    {
      kind: 'device',
      props: {
        driver: 'vfio-pci',
        ...onSlot(at),
        sysfsdev: at.facts.sysfs,
        ...(clique === undefined ? {} : { 'x-nv-gpudirect-clique': clique }),
      },
    },
  ],
});
