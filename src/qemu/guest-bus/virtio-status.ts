import type { Qmp } from '../qmp/connection.ts';

/** Progress of QEMU in the first queue of a virtio device. */
export interface QueueStatus {
  /** requests taken since the device was reset, modulo 2^16 */
  readonly taken: number;
  /** requests taken and not yet answered */
  readonly pending: number;
}

/** Returns the interrupt status of a virtio device: 0 if the guest has acknowledged every interrupt. */
export async function interruptOf(qmp: Qmp, qemuId: string): Promise<number> {
  return (await qmp.execute('x-query-virtio-status', { path: pathOf(qemuId) })).isr;
}

/** Returns the progress of a device's first queue. */
export async function queueStatus(qmp: Qmp, qemuId: string): Promise<QueueStatus> {
  const status = await qmp.execute('x-query-virtio-queue-status', { path: pathOf(qemuId), queue: 0 });
  return { taken: status['last-avail-idx'], pending: status.inuse };
}

/** Returns the names of the features that the driver of a device has accepted, e.g. `VIRTIO_NET_F_GUEST_TSO4`; those of the transport are left out. */
export async function guestFeatures(qmp: Pick<Qmp, 'execute'>, qemuId: string): Promise<string[]> {
  const { 'guest-features': accepted } = await qmp.execute('x-query-virtio-status', { path: pathOf(qemuId) });
  return accepted['dev-features'].map((text) => text.split(':')[0] ?? '');
}

function pathOf(qemuId: string): string {
  return `/machine/peripheral/${qemuId}/virtio-backend`;
}
