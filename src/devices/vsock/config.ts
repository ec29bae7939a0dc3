import { bounded, defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, socketPath, text, uint } from '../../schema/kinds.ts';
import { pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** Address of a guest: 32 bits, and the last one is VMADDR_CID_ANY (include/uapi/linux/vm_sockets.h). */
export const VSOCK_CID = { maximum: 2 ** 32 - 2 } as const;

/** Sockets between host and guest, over a UNIX socket of the host. */
export interface VsockConfig extends ValueOf<typeof VsockConfig> {}
export const VsockConfig = struct({
  name: 'VsockConfig',
  doc: 'Sockets between host and guest, over a UNIX socket of the host',
  keyHints: { 'guest-cid': 'cid', path: 'socket', uds: 'socket', uds_path: 'socket' },
  wordsFirst: ['socket'],
  fields: {
    cid: bounded(
      uint('Address of the guest', { bits: 64, min: 3, format: 'int64', document: { minimum: 3 } }),
      VSOCK_CID,
    ),
    socket: socketPath('UNIX socket of the host; the guest’s connections to port N reach `<socket>_N`'),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});
