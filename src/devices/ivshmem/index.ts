import { bounded, beyond, optional, struct, wordDefaulted, type ValueOf } from '../../schema/field.ts';
import { nested, path, size } from '../../schema/kinds.ts';
import { defineDevice } from '../device.ts';
import { onSlot, pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY, SHARED_SIZE } from '../common/limits.ts';

/** Size where nothing is said, in `bytes`. */
const DEFAULT_SIZE = 128 * 2 ** 20;

/** Memory that a guest shares with other guests and with programs on the host: a file, seen as a BAR. */
export interface IvshmemConfig extends ValueOf<typeof IvshmemConfig> {}
export const IvshmemConfig = struct({
  name: 'IvshmemConfig',
  doc: 'Memory that the guest shares with other guests and programs on the host: a file, seen as a BAR of a PCI device',
  wordsIgnored: ['id'],
  wordsMeant: { file: 'path', memdev: 'path' },
  fields: {
    path: bounded(path('File that holds the memory; it must be at least as large'), NOT_EMPTY),
    size: wordDefaulted(bounded(size('Size in `bytes`; a power of two'), SHARED_SIZE), () => DEFAULT_SIZE),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});

export const ivshmem = defineDevice({
  member: 'ivshmem',
  field: beyond(optional(nested(IvshmemConfig))),
  struct: IvshmemConfig,
  many: false,
  flag: 'ivshmem',
  ids: { fixed: '_ivshmem' },
  takesSlot: true,
  removable: false,
  editable: ['path', 'pci_segment'],
  plan: (config, at) => [
    {
      kind: 'object',
      props: {
        'qom-type': 'memory-backend-file',
        id: ivshmemMemory(at.qemuId),
        'mem-path': config.path,
        size: config.size,
        share: true,
      },
    },
    {
      kind: 'device',
      // without `master` QEMU saves no machine that has the device
      props: { driver: 'ivshmem-plain', ...onSlot(at), memdev: ivshmemMemory(at.qemuId), master: 'on' },
    },
  ],
});

/** Returns QEMU's name of a device's memory. */
export function ivshmemMemory(qemuId: string): string {
  return `${qemuId}.ram`;
}
