import type { Report } from './checks.ts';
import type { VmConfig } from './vm-config.ts';

/** Members that are devices, or lists of devices, with a `pci_segment`. */
const WITH_SEGMENT = ['disks', 'net', 'fs', 'pmem', 'devices', 'vsock', 'ivshmem', 'pci_segments'] as const;

/** A segment that a device asks for is one of those that the platform says; see docs/devices.md for what comes of it. */
export function checkSegments(config: VmConfig, report: Report): void {
  const count = config.platform?.num_pci_segments ?? 1;
  const check = (place: string, segment: number | undefined): void => {
    if (segment === undefined || segment < count) return;
    report(place, `there is no PCI segment ${segment} (platform.num_pci_segments is ${count})`);
  };
  for (const member of WITH_SEGMENT) {
    const value = config[member];
    if (Array.isArray(value)) {
      for (const [i, one] of value.entries()) check(`${member}[${i}].pci_segment`, one.pci_segment);
    } else if (value !== undefined && 'pci_segment' in value) {
      check(`${member}.pci_segment`, value.pci_segment);
    }
  }
  for (const [i, { pci_segments: segments = [] }] of (config.numa ?? []).entries()) {
    for (const [j, segment] of segments.entries()) check(`numa[${i}].pci_segments[${j}]`, segment);
  }
}
