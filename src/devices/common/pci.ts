import { beyond, bounded, optional, withoutEffect } from '../../schema/field.ts';
import { uint } from '../../schema/kinds.ts';
import type { AnyConfig, Device, PlanContext } from '../device.ts';

/** Returns the member `pci_segment` of devices on the bus. */
export function pciSegment() {
  const segment = uint('PCI segment; without effect: every device is on segment 0', {
    bits: 16,
  });
  return beyond(
    withoutEffect(optional(segment), (value) =>
      value === 0 ? undefined : 'all devices are on PCI segment 0: the machine has no other',
    ),
  );
}

/** PCI slots of bus 0 that devices can have: slot 0 is the host bridge, slot 1 the chip set. */
export const FIRST_SLOT = 2;
export const LAST_SLOT = 31;

/** Returns the member `pci_device_id` of devices on the bus. */
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

/** Returns the PCI slot that a device's configuration asks for; undefined for a device that is not on the bus. */
export function configuredSlot({ device, config }: Configured): number | undefined {
  const slot = config === true || !device.takesSlot ? undefined : config['pci_device_id'];
  return typeof slot === 'number' ? slot : undefined;
}

interface OnSlot {
  readonly id: string;
  readonly addr?: string;
}

/** Returns the properties of every device on the bus: its id and its slot. */
export function onSlot({ qemuId, addr }: PlanContext): OnSlot {
  return { id: qemuId, ...(addr === undefined ? {} : { addr }) };
}

/** Returns the properties of every virtio device: those of the bus, the modern interface alone (virtio 1.0), and the vIOMMU. */
export function onBus(
  at: PlanContext,
): OnSlot & { readonly 'disable-legacy': string; readonly iommu_platform?: boolean } {
  return {
    ...onSlot(at),
    'disable-legacy': 'on',
    ...(at.behindIommu === true ? { iommu_platform: true } : {}),
  };
}

/** Like {@link onBus}, for a device of a vhost-user back-end: back-ends translate no addresses, so it is never behind the vIOMMU. */
export function onBusByBackend(at: PlanContext): ReturnType<typeof onBus> {
  return onBus({ ...at, behindIommu: false });
}
