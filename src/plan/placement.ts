import { createHash } from 'node:crypto';
import { ApiError } from '../api/errors.ts';
import { dialectOf, fixedIdOf, type Dialect } from '../config/dialect.ts';
import { deviceItems, type DeviceItem } from '../config/items.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { AnyConfig, Device } from '../devices/device.ts';
import { askedSlot, FIRST_SLOT, LAST_SLOT } from '../devices/common/pci.ts';

/** One device of one VM: what it is, what it is called and where it sits. */
export interface Placement {
  readonly device: Device;
  /** its part of the configuration */
  readonly config: AnyConfig;
  /** as clients know it, in the VM's dialect */
  readonly id: string;
  /**
   * Name that the device's ids in QEMU are made from, where it is not `id`: a snapshot has RAM under these names, and can be
   * restored in another dialect.
   */
  readonly qemuName?: string;
  /** PCI slot on bus 0; undefined for what is not on the bus */
  readonly slot: number | undefined;
  /** came while the machine ran: it is outside of the vIOMMU until the next boot */
  readonly added?: boolean;
}

/** Where all devices of one run of a VM are; a value: adding and removing make another. */
export interface Layout {
  readonly placements: readonly Placement[];
  /** what the next generated id ends with: numbers are not used again in a run */
  readonly nextNumber: number;
}

interface NewDevice extends Pick<Placement, 'device' | 'config'> {
  /** the id that the user gave */
  readonly id: string | undefined;
}

/** Ids and slots that configurations ask for: no other device gets them. */
interface Taken {
  readonly ids: ReadonlySet<string>;
  readonly slots: ReadonlySet<number>;
}

/**
 * Gives every device its id and its slot, in the order of the device table: the slot it asks for, or the lowest free one.
 * Generated ids share one counter and step over those that the user took.
 * @throws ApiError `failed` where no slot is left, or the slot is another device's
 */
export function placeDevices(config: VmConfig): Layout {
  const dialect = dialectOf(config);
  const items = deviceItems(config).map((item) => ({ ...item, id: item.id ?? givenName(item, dialect) }));
  const taken: Taken = {
    ids: new Set(items.map(({ id }) => id).filter((id) => id !== undefined)),
    slots: new Set(items.map((item) => askedSlot(item)).filter((slot) => slot !== undefined)),
  };
  return items.reduce<Layout>((layout, item) => place(layout, item, taken), {
    placements: [],
    nextNumber: 0,
  });
}

/**
 * Finds a place for a further device.
 * @throws ApiError `duplicate-id`, or `failed` where no slot is left, or the slot is another device's
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

/** Frees a device's id and slot; its number is not used again. */
export function removePlacement(layout: Layout, id: string): Layout {
  return { ...layout, placements: layout.placements.filter((one) => one.id !== id) };
}

/** `0000:00:06.0`, as the guest shows it. */
export function bdfOf(slot: number): string {
  return `0000:00:${slot.toString(16).padStart(2, '0')}.0`;
}

function place(layout: Layout, { device, config, id: given }: NewDevice, taken: Taken): Layout {
  const { id, nextNumber } =
    given === undefined ? generateId(device, layout.nextNumber, taken.ids) : { ...layout, id: given };
  const slot = device.takesSlot ? slotFor(layout, { device, id, config }, taken.slots) : undefined;
  return { placements: [...layout.placements, { device, config, id, slot }], nextNumber };
}

/** Returns the id that a device without one in the configuration has by what it is; undefined: it gets a generated one. */
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

/** Whether one more device finds a place on the bus. */
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
  const asked = askedSlot(wanted);
  const owner = layout.placements.find(({ slot }) => slot !== undefined && slot === asked);
  if (owner !== undefined) {
    throw new ApiError('failed', `device ${id}: ${slotInUse(asked, owner.id)}`);
  }
  const slot = asked ?? lowestFreeSlot(layout, taken);
  if (slot !== undefined) return slot;
  throw new ApiError('failed', `device ${id}: no PCI slot is free (${LAST_SLOT - FIRST_SLOT + 1} at most)`);
}

/** Refusal of a slot that another device has; begins with the words of Cloud Hypervisor. */
function slotInUse(slot: number | undefined, owner: string): string {
  return `Valid PCI device identifier but already used: ${slot}: it is that of ${owner}`;
}

/**
 * The configuration with every generated id written into it and each device's part as `completed` has it,
 * as vm.info shows it. Booted again, it makes the same devices.
 */
export function withDevices(
  config: VmConfig,
  placements: readonly Placement[],
  completed: (placement: Placement) => AnyConfig = (placement) => placement.config,
): VmConfig {
  const parts = new Map<unknown, unknown>(
    placements.map((placement) => [placement.config, completedPart(placement, completed(placement))]),
  );
  const part = (value: unknown): unknown => parts.get(value) ?? value;
  const members = Object.entries(config).map(([member, value]: [string, unknown]) => [
    member,
    Array.isArray(value) ? value.map(part) : isObject(value) ? part(value) : value,
  ]);
  return { ...config, ...Object.fromEntries(members) };
}

/** A device's part of the configuration with its id, where it has a place for one. */
export function completedPart({ device, id }: Placement, config: AnyConfig): AnyConfig {
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

/** QEMU's node names have 31 characters; what belongs to a device has a suffix. */
const MOST_CHARACTERS = 20;

/**
 * An id in QEMU's alphabet, different for different ids: anything beyond letters, digits, `_` and `-` is spelled out, and
 * what would be too long is a digest.
 */
export function qemuId(id: string): string {
  const spelled = `n${id.replace(/[^A-Za-z0-9_-]/gu, (char) => `.${char.codePointAt(0)?.toString(16)}.`)}`;
  if (spelled.length <= MOST_CHARACTERS) return spelled;
  return `d${createHash('sha256')
    .update(id)
    .digest('hex')
    .slice(0, MOST_CHARACTERS - 1)}`;
}
