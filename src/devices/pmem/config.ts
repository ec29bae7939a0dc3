import { bounded, defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, path, size, text } from '../../schema/kinds.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY } from '../common/limits.ts';
import { HUGE_PAGE_BYTES } from '../../util/page.ts';

/** Size of a pmem device, in `bytes`: the guest maps it with huge pages. */
export const PMEM_SIZE = { minimum: HUGE_PAGE_BYTES, multipleOf: HUGE_PAGE_BYTES } as const;

/** A virtio-pmem device: a file of the host that the guest sees as persistent memory. */
export interface PmemConfig extends ValueOf<typeof PmemConfig> {}
export const PmemConfig = struct({
  name: 'PmemConfig',
  doc: 'A virtio-pmem device: a file of the host that the guest sees as persistent memory',
  keyHints: { path: 'file', readonly: 'discard_writes' },
  fields: {
    file: path('File, or directory for a temporary one'),
    size: optional(
      bounded(
        size(`Size in \`bytes\`, a multiple of ${HUGE_PAGE_BYTES / 2 ** 20} MiB; default: the file’s`),
        PMEM_SIZE,
      ),
    ),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    mergeable: defaulted(flag('Pages may be merged with equal ones (KSM)'), false),
    discard_writes: defaulted(flag('Writes of the guest never reach the file'), false),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});
