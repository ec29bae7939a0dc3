import { beyond, optional, withoutEffect } from '../schema/field.ts';
import { uint } from '../schema/kinds.ts';
import type { PlanContext } from './device.ts';

/** The member `pci_segment` of devices on the bus. */
export function pciSegment() {
  const segment = uint('PCI segment that the device is to be on; it is on 0, whatever this says', {
    bits: 16,
  });
  return beyond(
    withoutEffect(optional(segment), (value) =>
      value === 0 ? undefined : 'all devices are on PCI segment 0: the machine has no other',
    ),
  );
}

/** Words of newer versions of Cloud Hypervisor for every device on the bus. */
export const PCI_WORDS_IGNORED = ['pci_device_id'] as const;

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
