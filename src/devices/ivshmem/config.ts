import { bounded, struct, wordDefaulted, type ValueOf } from '../../schema/field.ts';
import { path, size } from '../../schema/kinds.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY } from '../common/limits.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** Size of shared memory, a power of two, in `bytes`. */
export const SHARED_SIZE = { minimum: PAGE_BYTES } as const;

/** Size by default on the command line, in `bytes`. */
const DEFAULT_SIZE = 128 * 2 ** 20;

/** Memory that a guest shares with other guests and with programs on the host: a file, seen as a BAR. */
export interface IvshmemConfig extends ValueOf<typeof IvshmemConfig> {}
export const IvshmemConfig = struct({
  name: 'IvshmemConfig',
  doc: 'Memory that the guest shares with other guests and programs on the host: a file, seen as a BAR of a PCI device',
  wordsIgnored: ['id'],
  keyHints: { file: 'path', memdev: 'path' },
  fields: {
    path: bounded(path('File that holds the memory; it must be at least as large'), NOT_EMPTY),
    size: wordDefaulted(bounded(size('Size in `bytes`; a power of two'), SHARED_SIZE), () => DEFAULT_SIZE),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});
