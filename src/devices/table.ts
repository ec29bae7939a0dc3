import type { Device, DeviceOrder } from './device.ts';
import * as kinds from './index.ts';

type Kind = (typeof kinds)[keyof typeof kinds];

/** Every kind of device. PCI slots are assigned in this order, each kind in the order of the configuration: guests rely on it. */
export const DEVICES: readonly Device[] = sorted(Object.values<Device>(kinds), 'slot');

/** Members of VmConfig that describe devices, with their fields. */
export type DeviceFields = { readonly [K in Kind as K['member']]: K['field'] };

/** Add requests of all kinds that have one. */
export type HotAddOfKind = NonNullable<Kind['hotAdd']>;

/** Returns all kinds in the order of a list that clients see. */
export function devicesInOrder(list: keyof DeviceOrder): readonly Device[] {
  return sorted(DEVICES, list);
}

/** Returns the position of a kind in a list that clients see; kinds without one come last. */
export function positionIn(list: keyof DeviceOrder, { order }: Device): number {
  return order?.[list] ?? Number.MAX_SAFE_INTEGER;
}

function sorted(devices: readonly Device[], list: keyof DeviceOrder): readonly Device[] {
  return devices.toSorted((a, b) => positionIn(list, a) - positionIn(list, b));
}
