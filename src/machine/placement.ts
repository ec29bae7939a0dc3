import { ApiError } from '../api/errors.ts';
import { deviceItems } from '../config/items.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { AnyConfig, Device } from '../devices/device.ts';

/** Slot 0 is the host bridge, slot 1 the chip set's. */
const FIRST_SLOT = 2;
const LAST_SLOT = 31;

/** One device of one VM: what it is, what it is called and where it sits. */
export interface Placement {
  readonly device: Device;
  /** its part of the configuration */
  readonly config: AnyConfig;
  readonly id: string;
  /** PCI slot on bus 0; undefined for what is not on the bus */
  readonly slot: number | undefined;
}

/**
 * Gives every device its id and the lowest free slot, in the order of the device table.
 * Generated ids share one counter and step over those that the user took (reference/api.md 8.1).
 * @throws ApiError `failed` where no slot is left
 */
export function placeDevices(config: VmConfig): Placement[] {
  const items = deviceItems(config);
  const nextId = idGenerator(new Set(items.map(({ id }) => id)));
  let slot = FIRST_SLOT;
  return items.map(({ device, config: part, id: given }) => {
    const id = given ?? nextId(device);
    if (device.takesSlot && slot > LAST_SLOT) {
      throw new ApiError(
        'failed',
        `device ${id}: no PCI slot is free (${LAST_SLOT - FIRST_SLOT + 1} at most)`,
      );
    }
    return { device, config: part, id, slot: device.takesSlot ? slot++ : undefined };
  });
}

function idGenerator(taken: ReadonlySet<string | undefined>): (device: Device) => string {
  let counter = 0;
  return ({ ids, member }) => {
    if (ids === undefined) return member;
    if ('fixed' in ids) return ids.fixed;
    while (taken.has(`${ids.prefix}${counter}`)) counter++;
    return `${ids.prefix}${counter++}`;
  };
}

/** The configuration with every generated id written into it, as vm.info shows it. */
export function withIds(config: VmConfig, placements: readonly Placement[]): VmConfig {
  const idOf = new Map<unknown, string>(placements.map(({ config: part, id }) => [part, id]));
  const lists = Object.entries(config).flatMap(([member, value]: [string, unknown]) =>
    Array.isArray(value) ? [[member, value.map((item: object) => withId(item, idOf.get(item)))]] : [],
  );
  return { ...config, ...Object.fromEntries(lists) };
}

function withId(item: object, id: string | undefined): object {
  return id === undefined ? item : { ...item, id };
}

/** An id in QEMU's alphabet, different for different ids: anything beyond letters, digits, `_` and `-` is spelled out. */
export function qemuId(id: string): string {
  return `n${id.replace(/[^A-Za-z0-9_-]/gu, (char) => `.${char.codePointAt(0)?.toString(16)}.`)}`;
}
