import { duplicates } from '../../util/duplicates.ts';
import { isPowerOfTwo } from '../../util/power-of-two.ts';
import { RAM_SIZE } from '../common/limits.ts';
import type { Report, RuleContext } from '../common/rules.ts';
import { MEMORY_BLOCK, type MemoryConfig, type MemoryZoneConfig } from './config.ts';

/** Checks the RAM and its zones. */
export function checkMemory(memory: MemoryConfig, { place, report }: RuleContext): void {
  const zones = memory.zones ?? [];
  if (memory.size > 0 && zones.length > 0) {
    report(`${place}.zones`, 'memory.size must be 0 when zones are given');
  }
  if (memory.size === 0 && zones.length === 0) {
    report(`${place}.size`, 'must not be 0 without memory zones');
  }
  checkSizes(place, memory, report);
  checkHotplug(place, memory, { method: memory.hotplug_method, report });
  zones.forEach((zone, i) => checkZone(`${place}.zones[${i}]`, zone, { memory, report }));
  for (const { index, value, first } of duplicates(zones.map((zone) => zone.id))) {
    report(`${place}.zones[${index}].id`, `"${value}" is taken by ${place}.zones[${first}]`);
  }
}

interface ZoneContext {
  readonly memory: MemoryConfig;
  readonly report: Report;
}

function checkZone(place: string, zone: MemoryZoneConfig, { memory, report }: ZoneContext): void {
  if (zone.id === '') report(`${place}.id`, 'must not be empty');
  if (zone.size === 0) report(`${place}.size`, 'must not be 0');
  if (zone.shared && zone.file !== undefined && zone.host_numa_node !== undefined) {
    report(place, 'shared, file and host_numa_node cannot be combined');
  }
  if (zone.hotplug_size !== undefined && memory.hotplug_method === 'Acpi') {
    report(`${place}.hotplug_size`, 'needs memory.hotplug_method to be VirtioMem');
  }
  checkSizes(place, zone, report);
  checkHotplug(place, zone, { method: memory.hotplug_method, report });
}

type Sizes = Pick<MemoryConfig, 'size' | 'hugepages' | 'hugepage_size'>;

function checkSizes(place: string, { size, hugepages, hugepage_size: page }: Sizes, report: Report): void {
  const { multipleOf } = RAM_SIZE;
  if (size % multipleOf !== 0) report(`${place}.size`, `must be a multiple of ${multipleOf}, got ${size}`);
  if (page === undefined) return;
  if (!hugepages) report(`${place}.hugepage_size`, 'Huge page size specified but huge pages not enabled');
  if (!isPowerOfTwo(page)) report(`${place}.hugepage_size`, `Huge page size is not power of 2: ${page}`);
  else if (hugepages && size % page !== 0) {
    report(`${place}.size`, `must be a multiple of the huge page size ${page}, got ${size}`);
  }
}

interface HotplugContext {
  readonly method: MemoryConfig['hotplug_method'];
  readonly report: Report;
}

type HotplugSizes = Pick<MemoryConfig, 'hotplug_size' | 'hotplugged_size'>;

function checkHotplug(place: string, sizes: HotplugSizes, { method, report }: HotplugContext): void {
  const { hotplug_size: size, hotplugged_size: used } = sizes;
  if (size === 0) report(`${place}.hotplug_size`, 'must not be 0');
  if (size !== undefined && method === 'VirtioMem' && size % MEMORY_BLOCK !== 0) {
    const block = `${MEMORY_BLOCK / 2 ** 20} MiB`;
    report(`${place}.hotplug_size`, `must be a multiple of ${block}, got ${size}`);
  }
  if (used === undefined) return;
  if (method === 'Acpi') {
    report(`${place}.hotplugged_size`, 'needs memory.hotplug_method to be VirtioMem');
  } else if (size === undefined) {
    report(`${place}.hotplugged_size`, 'needs hotplug_size');
  } else if (used > size) {
    report(`${place}.hotplugged_size`, `larger than hotplug_size (${used}, ${size})`);
  }
}
