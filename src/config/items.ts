import type { AnyConfig, Device } from '../devices/device.ts';
import { DEVICES } from '../devices/table.ts';
import type { VmConfig } from './vm-config.ts';

/** One device that a configuration asks for. */
export interface DeviceItem {
  readonly device: Device;
  readonly config: AnyConfig;
  /** place in the configuration, e.g. `disks[0]` */
  readonly place: string;
  /** id in the configuration; undefined: generated at boot */
  readonly id: string | undefined;
}

/** Returns the devices that the guest will have, in the order of their slots. */
export function deviceItems(config: VmConfig): DeviceItem[] {
  // a member without an id, e.g. memory, is no device of its own
  const devices = DEVICES.filter(({ ids }) => ids !== undefined);
  return devices.flatMap((device) => {
    if (device.derive !== undefined) return derivedItems(device, memberOf(device, config));
    return memberItems(device, config).filter((item) => device.present?.(item.config) ?? true);
  });
}

/** Returns the items of one kind of device in a configuration, including devices that the guest will not have. */
export function memberItems(device: Device, config: VmConfig): DeviceItem[] {
  const member = memberOf(device, config);
  const values: readonly unknown[] = Array.isArray(member) ? member : [member];
  return values
    .map((value, i) => toItem(device, value, device.many ? `${device.member}[${i}]` : device.member))
    .filter((item) => item !== undefined);
}

function memberOf({ member }: Device, config: VmConfig): unknown {
  return Object.entries(config).find(([name]) => name === member)?.[1];
}

function derivedItems(device: Device, member: unknown): DeviceItem[] {
  const configs = device.derive?.(member) ?? [];
  return configs.map((config) => ({ device, config, place: device.member, id: undefined }));
}

function toItem(device: Device, value: unknown, place: string): DeviceItem | undefined {
  if (!isConfig(value)) return undefined;
  const id = value === true ? undefined : value['id'];
  return { device, config: value, place, id: typeof id === 'string' ? id : undefined };
}

/** Returns true if a member is the configuration of a device: not if it is switched off or absent. */
function isConfig(value: unknown): value is AnyConfig {
  return value === true || (typeof value === 'object' && value !== null);
}
