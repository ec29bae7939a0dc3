import type { Report } from '../devices/common/rules.ts';
import { devicesInOrder } from '../devices/table.ts';
import { duplicates } from '../util/duplicates.ts';
import { memberItems } from './items.ts';
import type { VmConfig } from './vm-config.ts';

/** Limit of PCI segments of a machine. */
const SEGMENTS_MAX = 96;

/** Kinds of devices with a `pci_segment`, in the order in which clients see their problems. */
const WITH_SEGMENT = devicesInOrder('config').filter(
  ({ struct, field }) => struct?.fields['pci_segment'] !== undefined && !field.later,
);

/**
 * Checks PCI segments. A segment has no effect (docs/devices.md), but a configuration that Cloud Hypervisor refuses
 * is refused here as well.
 */
export function checkSegments(config: VmConfig, report: Report): void {
  checkDevices(config, report);
  checkPlatform(config, report);
  checkNodes(config, report);
}

/** Members of a device that its segment depends on. */
interface Placed {
  readonly pci_segment?: number | undefined;
  readonly iommu?: boolean;
}

function checkDevices(config: VmConfig, report: Report): void {
  for (const device of WITH_SEGMENT) {
    for (const { config: item, place } of memberItems(device, config)) {
      const placed: Placed = item === true ? {} : item;
      checkNumber(`${place}.pci_segment`, placed.pci_segment ?? 0, config, report);
      if (device.behindIommu?.bySegment === true) checkIommu(place, placed, config, report);
    }
  }
}

/** Checks that a device on a segment of the virtual IOMMU is behind it. */
function checkIommu(
  place: string,
  { pci_segment: segment = 0, iommu = false }: Placed,
  { platform }: VmConfig,
  report: Report,
): void {
  if (iommu || platform?.iommu_segments?.includes(segment) !== true) return;
  report(place, `PCI segment ${segment} is behind the virtual IOMMU, the device is not (iommu=on)`);
}

function checkPlatform(config: VmConfig, report: Report): void {
  const { num_pci_segments: count = 1, iommu_segments: behind = [] } = config.platform ?? {};
  if (count > SEGMENTS_MAX) report('platform.num_pci_segments', `must be 1 to ${SEGMENTS_MAX}, got ${count}`);
  for (const [i, segment] of behind.entries()) {
    checkNumber(`platform.iommu_segments[${i}]`, segment, config, report);
  }
}

/** Checks that a segment belongs to at most one NUMA node, and segment 0 to node 0. */
function checkNodes(config: VmConfig, report: Report): void {
  const owned = (config.numa ?? []).flatMap(({ guest_numa_id: node, pci_segments: segments = [] }, i) =>
    segments.map((segment, j) => ({ node, segment, place: `numa[${i}].pci_segments[${j}]` })),
  );
  for (const { node, segment, place } of owned) {
    checkNumber(place, segment, config, report);
    if (segment === 0 && node !== 0) report(place, 'PCI segment 0 belongs to NUMA node 0');
  }
  for (const { index, value, first } of duplicates(owned.map(({ segment }) => segment))) {
    report(`${owned[index]?.place}`, `${value} is listed in ${owned[first]?.place} already`);
  }
}

/** Checks that a segment exists on the platform. */
function checkNumber(place: string, segment: number, { platform }: VmConfig, report: Report): void {
  const count = platform?.num_pci_segments ?? 1;
  if (segment < count) return;
  report(place, `there is no PCI segment ${segment} (platform.num_pci_segments is ${count})`);
}
