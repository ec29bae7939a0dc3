import { bounded, defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, list, nested, path, size, text } from '../../schema/kinds.ts';
import { defineDevice, type PlanContext } from '../device.ts';
import { onBus, pciDeviceId, pciSegment } from '../common/pci.ts';
import type { Step } from '../common/step.ts';
import { NOT_EMPTY, PMEM_SIZE } from '../common/limits.ts';

/** What the host found under a pmem device's path. */
export interface PmemFacts {
  /** of the device, in `bytes` */
  readonly size: number;
  /** the path is a folder, where a file without a name is made */
  readonly isFolder: boolean;
}

/** A virtio-pmem device: a file of the host that the guest sees as persistent memory. */
export interface PmemConfig extends ValueOf<typeof PmemConfig> {}
export const PmemConfig = struct({
  name: 'PmemConfig',
  doc: 'A virtio-pmem device: a file of the host that the guest sees as persistent memory',
  wordsMeant: { path: 'file', readonly: 'discard_writes' },
  fields: {
    file: path('File, or directory for a temporary one'),
    size: optional(bounded(size('Size in `bytes`, a multiple of 2 MiB; default: the file’s'), PMEM_SIZE)),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    mergeable: defaulted(flag('Pages may be merged with equal ones (KSM)'), false),
    discard_writes: defaulted(flag('What the guest writes never reaches the file'), false),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});

export const pmem = defineDevice({
  member: 'pmem',
  field: optional(list(nested(PmemConfig))),
  struct: PmemConfig,
  many: true,
  flag: 'pmem',
  ids: { prefix: '_pmem' },
  takesSlot: true,
  // QEMU unplugs no memory device but virtio-mem
  removable: false,
  editable: ['file', 'pci_segment'],
  // QEMU saves nothing of it, and what we do instead has to read its queue, which cannot be found behind the vIOMMU
  unsaved: ({ iommu }) => (iommu ? 'it is behind the virtual IOMMU' : undefined),
  plan: planPmem,
});

function planPmem(config: PmemConfig, at: PlanContext<PmemFacts>): readonly Step[] {
  const { size, isFolder } = at.facts;
  // a private mapping of a file that is open for reading only: what is written stays in memory and is lost
  const discards = config.discard_writes && !isFolder ? { share: false, readonly: true, rom: 'off' } : {};
  return [
    {
      kind: 'object',
      props: {
        'qom-type': 'memory-backend-file',
        id: `${at.qemuId}.ram`,
        'mem-path': config.file,
        size,
        share: true,
        merge: config.mergeable,
        ...discards,
      },
    },
    { kind: 'device', props: { driver: 'virtio-pmem-pci', ...onBus(at), memdev: `${at.qemuId}.ram` } },
  ];
}
