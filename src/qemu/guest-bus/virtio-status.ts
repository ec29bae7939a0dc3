import type { Qmp } from '../qmp/connection.ts';

/** How far QEMU is with a virtio device's first queue. */
export interface QueueStatus {
  /** requests that were ever taken, modulo 2^16 */
  readonly taken: number;
  /** requests that are taken and not answered */
  readonly pending: number;
}

/** What a virtio device has to tell its guest: 0, where the guest has heard of everything. */
export async function interruptOf(qmp: Qmp, qemuId: string): Promise<number> {
  return (await qmp.execute('x-query-virtio-status', { path: pathOf(qemuId) })).isr;
}

export async function queueStatus(qmp: Qmp, qemuId: string): Promise<QueueStatus> {
  const status = await qmp.execute('x-query-virtio-queue-status', { path: pathOf(qemuId), queue: 0 });
  return { taken: status['last-avail-idx'], pending: status.inuse };
}

function pathOf(qemuId: string): string {
  return `/machine/peripheral/${qemuId}/virtio-backend`;
}
