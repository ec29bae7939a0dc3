import type { PlanContext } from './device.ts';

interface OnSlot {
  readonly id: string;
  readonly addr?: string;
}

/** What every device on the bus has: its id and its slot. */
export function onSlot({ qemuId, addr }: PlanContext): OnSlot {
  return { id: qemuId, ...(addr === undefined ? {} : { addr }) };
}

/** What every virtio device has besides: the modern interface alone (virtio 1.0), and its place behind the vIOMMU. */
export function onBus(
  at: PlanContext,
): OnSlot & { readonly 'disable-legacy': string; readonly iommu_platform?: boolean } {
  return {
    ...onSlot(at),
    'disable-legacy': 'on',
    ...(at.behindIommu === true ? { iommu_platform: true } : {}),
  };
}

/** The same for a device that a vhost-user back-end serves: back-ends translate nothing, so it is never behind the vIOMMU. */
export function onBusByBackend(at: PlanContext): ReturnType<typeof onBus> {
  return onBus({ ...at, behindIommu: false });
}
