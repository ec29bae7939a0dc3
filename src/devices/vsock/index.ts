import { bounded, defaulted, optional, struct, type ValueOf } from '../../schema/field.ts';
import { flag, nested, socketPath, text, uint } from '../../schema/kinds.ts';
import { defineDevice, type PlanContext } from '../device.ts';
import { onBusByBackend, pciDeviceId, pciSegment } from '../common/pci.ts';
import { NOT_EMPTY, VSOCK_CID } from '../common/limits.ts';

/** The host's side of the device, which runs before QEMU does. */
export interface VsockFacts {
  /** QEMU's end of the vhost-user connection */
  readonly frontEnd: number;
}

/** Sockets between host and guest, over a UNIX socket of the host. */
export interface VsockConfig extends ValueOf<typeof VsockConfig> {}
export const VsockConfig = struct({
  name: 'VsockConfig',
  doc: 'Sockets between host and guest, over a UNIX socket of the host',
  wordsMeant: { 'guest-cid': 'cid', path: 'socket', uds: 'socket', uds_path: 'socket' },
  wordsFirst: ['socket'],
  fields: {
    cid: bounded(
      uint('Address of the guest', { bits: 64, min: 3, format: 'int64', document: { minimum: 3 } }),
      VSOCK_CID,
    ),
    socket: socketPath('UNIX socket of the host; the guest’s connections to port N go to `<socket>_N`'),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    id: optional(bounded(text('Name of the device', '<id>'), NOT_EMPTY)),
    pci_segment: pciSegment(),
    pci_device_id: pciDeviceId(),
  },
});

export const vsock = defineDevice({
  member: 'vsock',
  field: optional(nested(VsockConfig)),
  struct: VsockConfig,
  many: false,
  flag: 'vsock',
  ids: { prefix: '_vsock' },
  takesSlot: true,
  removable: true,
  editable: ['socket', 'cid', 'pci_segment'],
  plan: (_config, at: PlanContext<VsockFacts>) => [
    {
      kind: 'chardev',
      id: `${at.qemuId}.host`,
      backend: { type: 'descriptor', fd: at.facts.frontEnd, server: false },
    },
    {
      kind: 'device',
      props: {
        driver: 'vhost-user-vsock-pci',
        ...onBusByBackend(at),
        // the configuration's and one for each queue; with fewer, Linux looks through all queues for each interrupt
        vectors: 4,
        chardev: `${at.qemuId}.host`,
      },
    },
  ],
});
