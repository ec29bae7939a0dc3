import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onSlot } from '../common/pci.ts';
import type { IvshmemConfig } from './config.ts';

/** Returns QEMU's name of a device's memory. */
export function ivshmemMemory(qemuId: string): string {
  return `${qemuId}.ram`;
}

/** Plans the shared memory and the PCI device whose BAR it is. */
export function planIvshmem(config: IvshmemConfig, at: PlanContext): readonly Step[] {
  return [
    {
      kind: 'object',
      props: {
        'qom-type': 'memory-backend-file',
        id: ivshmemMemory(at.qemuId),
        'mem-path': config.path,
        size: config.size,
        share: true,
      },
    },
    {
      kind: 'device',
      // without `master` QEMU saves no machine that has the device
      props: { driver: 'ivshmem-plain', ...onSlot(at), memdev: ivshmemMemory(at.qemuId), master: 'on' },
    },
  ];
}
