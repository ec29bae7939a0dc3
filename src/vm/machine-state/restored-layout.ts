import { ApiError } from '../../api/errors.ts';
import { deviceItems, type DeviceItem } from '../../config/items.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { DEVICES } from '../../devices/table.ts';
import type { Layout, Placement } from '../../plan/placement.ts';
import { decode } from '../../schema/decode.ts';
import { kindOf } from './describe-machine.ts';
import type { SavedDevice } from './description-schema.ts';
import type { MachineDescription } from './machine-description.ts';
import { restoredNames, type RestoredNames } from './restored-names.ts';

/**
 * Returns the layout of a machine that continues from the described state: the same devices in the same slots.
 * @throws ApiError `failed` if the configuration has other devices
 */
export function restoredLayout(
  config: VmConfig,
  { devices, nextNumber }: Pick<MachineDescription, 'devices' | 'nextNumber'>,
): Layout {
  const left = [...deviceItems(config)];
  const names = restoredNames(config, nextNumber);
  const placements = devices.map((device) => restoredPlacement(device, left, names.nameOf));
  const [extra] = left;
  if (extra !== undefined) throw otherDevices(`${extra.place} was not in the machine`);
  return { placements, nextNumber: names.nextNumber() };
}

/** Returns the placement of a device, and removes its item from `left`. */
function restoredPlacement(
  saved: SavedDevice,
  left: DeviceItem[],
  nameOf: RestoredNames['nameOf'],
): Placement {
  const { kind, id, slot, added = false, leaving } = saved;
  const device = DEVICES.find((one) => kindOf(one) === kind);
  if (device === undefined) throw otherDevices(`no device is called ${kind}`);
  if (leaving !== undefined) return { device, id, slot, added, config: detachingConfig(device, leaving) };
  // an item without an id is the only one of its kind, or derives from a memory zone, in the order of the zones
  const at = left.findIndex((one) => one.device === device && (one.id === undefined || one.id === id));
  const [item] = at < 0 ? [] : left.splice(at, 1);
  if (item === undefined) throw otherDevices(`${device.member} ${id} is missing`);
  return { device, ...nameOf(saved, item), slot, added, config: item.config };
}

function detachingConfig({ struct }: Device, saved: unknown): AnyConfig {
  return struct === undefined ? true : decode(struct, saved);
}

function otherDevices(reason: string): ApiError {
  return new ApiError('failed', `The configuration is another machine's: ${reason}`);
}
