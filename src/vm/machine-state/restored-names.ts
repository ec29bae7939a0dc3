import { dialectOf } from '../../config/dialect.ts';
import type { DeviceItem } from '../../config/items.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { givenName, type Placement } from '../../plan/placement.ts';
import type { SavedDevice } from './description-schema.ts';

/** Names of the devices of a machine that continues from the described state. */
export interface RestoredNames {
  /** Returns the names of a device: its id in the dialect of the configuration, and the name of its RAM in the state. */
  readonly nameOf: (saved: SavedDevice, item: DeviceItem) => Pick<Placement, 'id' | 'qemuName'>;
  /** Returns the number of the next generated id, after all devices are named. */
  readonly nextNumber: () => number;
}

/**
 * Names devices as in the described machine. If the configuration has another dialect now, devices without an id get the
 * names of that dialect. `savedNumber`: the next number of the described machine.
 */
export function restoredNames(config: VmConfig, savedNumber: number): RestoredNames {
  const dialect = dialectOf(config);
  let number = savedNumber;
  return {
    nameOf: ({ id, qemuName = id }, item) => {
      const { device, id: configured } = item;
      const own =
        configured ?? givenName(item, dialect) ?? generatedName(item, [id, qemuName], () => number++);
      return own === qemuName || device.derive === undefined ? { id: own } : { id: own, qemuName };
    },
    nextNumber: () => number,
  };
}

/** Returns the generated id of a device in the description, or a new id if it had none. */
function generatedName(
  { device: { ids, member } }: DeviceItem,
  former: readonly string[],
  nextNumber: () => number,
): string {
  const prefix = ids !== undefined && 'prefix' in ids ? ids.prefix : member;
  return former.find((name) => name.startsWith(prefix)) ?? `${prefix}${nextNumber()}`;
}
