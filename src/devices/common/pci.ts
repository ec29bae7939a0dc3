import { beyond, bounded, optional, withoutEffect } from '../../schema/field.ts';
import { uint } from '../../schema/kinds.ts';
import type { AnyConfig, Device, PlanContext } from '../device.ts';

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

/** PCI slots of bus 0: slot 0 is the host bridge's, slot 1 the chip set's. */
export const FIRST_SLOT = 2;
export const LAST_SLOT = 31;

/** The member `pci_device_id` of devices on the bus. */
export function pciDeviceId() {
  const slot = uint(`PCI slot, from ${FIRST_SLOT} to ${LAST_SLOT}; default: the lowest that is free`, {
    bits: 8,
  });
  return beyond(optional(bounded(slot, { minimum: FIRST_SLOT, maximum: LAST_SLOT })));
}

/** A device and its configuration. */
interface Configured {
  readonly device: Pick<Device, 'takesSlot'>;
  readonly config: AnyConfig;
}

/** The PCI slot that a device's configuration asks for; none for a device that is not on the bus. */
export function askedSlot({ device, config }: Configured): number | undefined {
  const slot = config === true || !device.takesSlot ? undefined : config['pci_device_id'];
  return typeof slot === 'number' ? slot : undefined;
}

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
