import type { PlanContext } from '../device.ts';
import { MemoryZoneConfig } from '../memory/config.ts';
import { onBus } from '../common/pci.ts';
import { ramObject, type RamRegion } from '../memory/plan.ts';
import type { Step } from '../common/step.ts';
import { HUGE_PAGE_BYTES } from '../../util/page.ts';

/** Unit in which virtio-mem adds and removes RAM, in `bytes`: a huge page, the smallest that QEMU allows for it. */
export const VIRTIO_MEM_BLOCK = HUGE_PAGE_BYTES;

/** What is known of a growing zone beside its own configuration. */
export interface VirtioMemFacts {
  /** QEMU's number of the guest's NUMA node that the zone belongs to; 0 where the guest has none */
  readonly node: number;
}

/** The RAM that a virtio-mem device can give: never in the zone's file, as that is full. */
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
        // a page that the host does not have is refused when the guest asks for it, not a crash when it uses it
        ...(zone.hugepages || zone.prefault === true ? { prealloc: true } : {}),
      },
    },
  ];
}
