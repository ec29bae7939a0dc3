import { dialectOf } from '../../config/dialect.ts';
import type { DeviceItem } from '../../config/items.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { givenName, type Placement } from '../../plan/placement.ts';
import type { SavedDevice } from './machine-description.ts';

/** Names of the devices of a machine that takes the state of another. */
export interface LikeNames {
  /** Returns the names of a device: its id in the dialect of the configuration, and the one that its RAM has in the state. */
  readonly nameOf: (saved: SavedDevice, item: DeviceItem) => Pick<Placement, 'id' | 'qemuName'>;
  /** what the next generated id ends with, when all devices are named */
  readonly nextNumber: () => number;
}

/**
 * Names devices as the machine that was saved did. Its configuration may have another form now: then devices without an id in
 * it are called as that form's dialect calls them.
 */
export function likeNames(config: VmConfig, savedNumber: number): LikeNames {
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

/** Returns the generated id that a device had, or a new one where it had none. */
function generatedName(
  { device: { ids, member } }: DeviceItem,
  former: readonly string[],
  nextNumber: () => number,
): string {
  const prefix = ids !== undefined && 'prefix' in ids ? ids.prefix : member;
  return former.find((name) => name.startsWith(prefix)) ?? `${prefix}${nextNumber()}`;
}
