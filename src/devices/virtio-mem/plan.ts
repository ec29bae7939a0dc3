import type { PlanContext } from '../device.ts';
import { MemoryZoneConfig } from '../memory/config.ts';
import { onBus } from '../common/pci.ts';
import { ramObject, type RamRegion } from '../memory/plan.ts';
import type { Step } from '../common/step.ts';
import { HUGE_PAGE_BYTES } from '../../util/page.ts';

/** Unit in which virtio-mem adds and removes RAM, in `bytes`: a huge page, the smallest that QEMU allows for it. */
export const VIRTIO_MEM_BLOCK = HUGE_PAGE_BYTES;

/** Host facts of a virtio-mem device. */
export interface VirtioMemFacts {
  /** QEMU's number of the guest's NUMA node that the zone belongs to; 0 for a guest without nodes */
  readonly node: number;
}

/** Returns the RAM of a virtio-mem device. It is never in the zone's file, which has no space for it. */
export function virtioMemRegion(zone: MemoryZoneConfig, qemuId: string): RamRegion {
  return {
    id: `${qemuId}.ram`,
    size: zone.hotplug_size ?? 0,
    zones: [zone.id],
    backing: { ...zone, file: undefined },
    sparse: true,
  };
}

export function planVirtioMem(zone: MemoryZoneConfig, at: PlanContext<VirtioMemFacts>): readonly Step[] {
  const region = virtioMemRegion(zone, at.qemuId);
  return [
    ramObject(region),
    {
      kind: 'device',
      props: {
        driver: 'virtio-mem-pci',
        ...onBus(at),
        memdev: region.id,
        node: at.facts.node,
        'block-size': VIRTIO_MEM_BLOCK,
        'requested-size': zone.hotplugged_size ?? 0,
        // the guest's request fails if the host has no page, not the guest's access later
        ...(zone.hugepages || zone.prefault === true ? { prealloc: true } : {}),
      },
    },
  ];
}
