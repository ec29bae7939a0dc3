import { createHash } from 'node:crypto';
import { ApiError } from '../api/errors.ts';
import { dialectOf, fixedIdOf, type Dialect } from '../config/dialect.ts';
import { deviceItems, type DeviceItem } from '../config/items.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { AnyConfig, Device } from '../devices/device.ts';
import { configuredSlot, FIRST_SLOT, LAST_SLOT } from '../devices/common/pci.ts';

/** Planned device of a VM: its kind, its id and its PCI slot. */
export interface Placement {
  readonly device: Device;
  /** its configuration, an item of VmConfig */
  readonly config: AnyConfig;
  /** as clients know it, in the VM's dialect */
  readonly id: string;
  /**
   * Name that the device's ids in QEMU derive from, if it is not `id`. A snapshot stores RAM under these names, and can be
   * restored in another dialect.
   */
  readonly qemuName?: string;
  /** PCI slot on bus 0; undefined for a device that is not on the bus */
  readonly slot: number | undefined;
  /** hot-plugged: not behind the vIOMMU until the next boot */
  readonly added?: boolean;
}

/** Placements of all devices of a machine. It is immutable: adding and removing a device return another layout. */
export interface Layout {
  readonly placements: readonly Placement[];
  /** number of the next generated id; a machine uses each number once */
  readonly nextNumber: number;
}

interface NewDevice extends Pick<Placement, 'device' | 'config'> {
  /** id in the configuration */
  readonly id: string | undefined;
}

/** Ids and slots that configurations name: no other device gets them. */
interface Taken {
  readonly ids: ReadonlySet<string>;
  readonly slots: ReadonlySet<number>;
}

/**
 * Gives every device its id and its slot, in the order of the device table: the configured slot, or the lowest free one.
 * Generated ids share one counter and skip configured ids.
 * @throws ApiError `failed` if no slot is free, or the configured slot is in use
 */
export function placeDevices(config: VmConfig): Layout {
  const dialect = dialectOf(config);
  const items = deviceItems(config).map((item) => ({ ...item, id: item.id ?? givenName(item, dialect) }));
  const taken: Taken = {
    ids: new Set(items.map(({ id }) => id).filter((id) => id !== undefined)),
    slots: new Set(items.map((item) => configuredSlot(item)).filter((slot) => slot !== undefined)),
  };
  return items.reduce<Layout>((layout, item) => place(layout, item, taken), {
    placements: [],
    nextNumber: 0,
  });
}

/**
 * Places one more device.
 * @throws ApiError `duplicate-id`; `failed` if no slot is free, or the configured slot is in use
 */
export function addPlacement(layout: Layout, device: NewDevice): { layout: Layout; placement: Placement } {
  const ids = new Set(layout.placements.flatMap(({ id, qemuName = id }) => [id, qemuName]));
  if (device.id !== undefined && ids.has(device.id)) {
    throw new ApiError('duplicate-id', `The id "${device.id}" is taken`);
  }
  const next = place(layout, device, { ids, slots: new Set() });
  const last = next.placements.at(-1);
  if (last === undefined) throw new Error('a placement was made');
  const placement = { ...last, added: true };
  return { layout: { ...next, placements: [...layout.placements, placement] }, placement };
}

/** Returns the layout without a device: its id and slot are free, the number of its id is not used again. */
export function removePlacement(layout: Layout, id: string): Layout {
  return { ...layout, placements: layout.placements.filter((one) => one.id !== id) };
}

/** Returns a slot's PCI address in the guest, e.g. `0000:00:06.0`. */
export function bdfOf(slot: number): string {
  return `0000:00:${slot.toString(16).padStart(2, '0')}.0`;
}

function place(layout: Layout, { device, config, id: given }: NewDevice, taken: Taken): Layout {
  const { id, nextNumber } =
    given === undefined ? generateId(device, layout.nextNumber, taken.ids) : { ...layout, id: given };
  const slot = device.takesSlot ? slotFor(layout, { device, id, config }, taken.slots) : undefined;
  return { placements: [...layout.placements, { device, config, id, slot }], nextNumber };
}

/** Returns the id of a device that is fixed by its kind or zone; undefined: its id is generated. */
export function givenName(
  { device, config }: Pick<DeviceItem, 'device' | 'config'>,
  dialect: Dialect,
): string | undefined {
  if (device.ids !== undefined && 'fixed' in device.ids) return fixedIdOf(device.ids.fixed, dialect);
  if (device.derive === undefined || !dialect.hasZoneIds || config === true) return undefined;
  const { id } = config;
  return typeof id === 'string' ? id : undefined;
}

function generateId({ ids, member }: Device, from: number, taken: ReadonlySet<string>) {
  if (ids === undefined || 'fixed' in ids) return { id: member, nextNumber: from };
  let number = from;
  while (taken.has(`${ids.prefix}${number}`)) number++;
  return { id: `${ids.prefix}${number}`, nextNumber: number + 1 };
}

/** Returns true if one more device fits on the bus. */
export function hasFreeSlot(layout: Layout): boolean {
  return lowestFreeSlot(layout, new Set()) !== undefined;
}

function lowestFreeSlot({ placements }: Layout, taken: ReadonlySet<number>): number | undefined {
  const used = new Set([...taken, ...placements.map(({ slot }) => slot)]);
  for (let slot = FIRST_SLOT; slot <= LAST_SLOT; slot++) if (!used.has(slot)) return slot;
  return undefined;
}

function slotFor(
  layout: Layout,
  wanted: Pick<Placement, 'device' | 'id' | 'config'>,
  taken: ReadonlySet<number>,
): number {
  const { id } = wanted;
  const asked = configuredSlot(wanted);
  const owner = layout.placements.find(({ slot }) => slot !== undefined && slot === asked);
  if (owner !== undefined) {
    throw new ApiError('failed', `device ${id}: ${slotInUse(asked, owner.id)}`);
  }
  const slot = asked ?? lowestFreeSlot(layout, taken);
  if (slot !== undefined) return slot;
  throw new ApiError('failed', `device ${id}: no PCI slot is free (${LAST_SLOT - FIRST_SLOT + 1} at most)`);
}

/** Message for a slot in use; it begins like Cloud Hypervisor's. */
function slotInUse(slot: number | undefined, owner: string): string {
  return `Valid PCI device identifier but already used: ${slot}: it is that of ${owner}`;
}

/**
 * Returns the configuration with every generated id, and with each device's configuration from `completed`, as vm.info shows
 * it. Booted again, it gives the same devices.
 */
export function withDevices(
  config: VmConfig,
  placements: readonly Placement[],
  completed: (placement: Placement) => AnyConfig = (placement) => placement.config,
): VmConfig {
  const parts = new Map<unknown, unknown>(
    placements.map((placement) => [placement.config, withDeviceId(placement, completed(placement))]),
  );
  const part = (value: unknown): unknown => parts.get(value) ?? value;
  const members = Object.entries(config).map(([member, value]: [string, unknown]) => [
    member,
    Array.isArray(value) ? value.map(part) : isObject(value) ? part(value) : value,
  ]);
  return { ...config, ...Object.fromEntries(members) };
}

/** Returns a device's configuration with its id, if its struct has the member `id`. */
export function withDeviceId({ device, id }: Placement, config: AnyConfig): AnyConfig {
  const named = device.struct !== undefined && 'id' in device.struct.fields;
  return named && config !== true ? { ...config, id } : config;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Returns the id of a device in QEMU's alphabet. */
export function qemuIdOf({ id, qemuName = id }: Pick<Placement, 'id' | 'qemuName'>): string {
  return qemuId(qemuName);
}

/** Longest id, in characters: QEMU's node names have 31, and parts of a device add a suffix. */
const MOST_CHARACTERS = 20;

/**
 * Returns an id in QEMU's alphabet; different ids give different results. Characters other than letters, digits, `_` and `-` are
 * replaced by their code points, and a long id by a digest.
 */
export function qemuId(id: string): string {
  const spelled = `n${id.replace(/[^A-Za-z0-9_-]/gu, (char) => `.${char.codePointAt(0)?.toString(16)}.`)}`;
  if (spelled.length <= MOST_CHARACTERS) return spelled;
  return `d${createHash('sha256')
    .update(id)
    .digest('hex')
    .slice(0, MOST_CHARACTERS - 1)}`;
}
