import { DEVICES } from '../devices/table.ts';
import { growingZones } from '../devices/memory/zones.ts';
import type { Report } from '../devices/common/rules.ts';
import { dialectOf, fixedIdOf } from './dialect.ts';
import { deviceItems } from './items.ts';
import { duplicates } from '../util/duplicates.ts';
import type { VmConfig } from './vm-config.ts';

/** Ids that the machine itself has in the device tree, in the form of the contract. */
const FIXED: readonly string[] = [
  '_ioapic',
  ...DEVICES.flatMap(({ ids }) => (ids !== undefined && 'fixed' in ids ? [ids.fixed] : [])),
];
/** Prefixes of ids of PCI functions, and of devices that every VM has, in the current dialect. */
const RESERVED_PREFIXES: readonly string[] = ['_virtio-pci-', '__'];

/** Checks the ids of devices, and of the memory zones that share their names. */
export function checkIds(config: VmConfig, report: Report): void {
  const dialect = dialectOf(config);
  const reserved = new Set(FIXED.map((id) => fixedIdOf(id, dialect)));
  const isReserved = (id: string): boolean =>
    reserved.has(id) || RESERVED_PREFIXES.some((prefix) => id.startsWith(prefix));
  const named = deviceItems(config).flatMap(({ id, place }) => (id === undefined ? [] : [{ id, place }]));
  for (const { id, place } of named) {
    if (id === '') report(`${place}.id`, 'must not be empty');
    if (isReserved(id)) report(`${place}.id`, `"${id}" is reserved`);
  }
  for (const { index, value, first } of duplicates(named.map(({ id }) => id))) {
    report(`${named[index]?.place}.id`, `"${value}" is taken by ${named[first]?.place}`, 'duplicate');
  }
  if (!dialect.hasZoneIds) return;
  const zones = new Set(namedZones(config));
  for (const id of zones) if (isReserved(id)) report('memory.zones', `"${id}" is reserved`);
  for (const { id, place } of named) {
    if (zones.has(id)) report(`${place}.id`, `"${id}" is taken by a memory zone`, 'duplicate');
  }
}

/** Returns the ids of memory zones: those of the configuration, and the implicit one if a device has its id. */
function namedZones({ memory }: VmConfig): string[] {
  return [...(memory.zones ?? []), ...growingZones(memory)].map(({ id }) => id);
}
