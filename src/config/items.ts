import type { AnyConfig, Device } from '../devices/device.ts';
import { DEVICES } from '../devices/table.ts';
import type { VmConfig } from './vm-config.ts';

/** One device that a configuration asks for. */
export interface DeviceItem {
  readonly device: Device;
  readonly config: AnyConfig;
  /** where it stands in the configuration, e.g. `disks[0]` */
  readonly place: string;
  /** the id that the configuration gives it; generated at boot where it gives none */
  readonly id: string | undefined;
}

/** Returns the devices that the guest will see, in the order of their slots. */
export function deviceItems(config: VmConfig): DeviceItem[] {
  // a member without an id, e.g. memory, is no device of its own
  const devices = DEVICES.filter(({ ids }) => ids !== undefined);
  return devices.flatMap((device) => {
    if (device.derive !== undefined) return derivedItems(device, memberOf(device, config));
    return memberItems(device, config).filter((item) => device.present?.(item.config) ?? true);
  });
}

/** Returns what a configuration holds of one kind of device, whether or not the guest will see it. */
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

/** Returns whether a member is a device: one that is switched off or not given is none. */
function isConfig(value: unknown): value is AnyConfig {
  return value === true || (typeof value === 'object' && value !== null);
}
