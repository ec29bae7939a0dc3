import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onSlot } from '../common/pci.ts';
import type { DeviceConfig } from './config.ts';

/** Host facts of a device that can be passed through. */
export interface VfioFacts {
  /** its folder in sysfs, without links */
  readonly sysfs: string;
}

/** Plans a PCI device of the host that is passed through. */
export function planVfio(
  { x_nv_gpudirect_clique: clique }: DeviceConfig,
  at: PlanContext<VfioFacts>,
): readonly Step[] {
  return [
    {
      kind: 'device',
      props: {
        driver: 'vfio-pci',
        ...onSlot(at),
        sysfsdev: at.facts.sysfs,
        ...(clique === undefined ? {} : { 'x-nv-gpudirect-clique': clique }),
      },
    },
  ];
}
