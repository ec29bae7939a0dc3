import { bounded, defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, path, size, text } from '../../schema/kinds.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** Unit of the size of a pmem device, in `bytes`: the guest maps it with pages of this size. */
export const PMEM_PAGE = 2 * 2 ** 20;

/** Size of a pmem device, in `bytes`. */
export const PMEM_SIZE = { minimum: PMEM_PAGE, multipleOf: PMEM_PAGE } as const;

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
