import type { PlanContext } from '../device.ts';
import { onBus } from '../common/pci.ts';
import type { Step } from '../common/step.ts';
import type { PmemConfig } from './config.ts';

/** Host facts of a pmem device. */
export interface PmemFacts {
  /** size of the device, in `bytes` */
  readonly size: number;
  /** the path is a folder, in which QEMU makes a file without a name */
  readonly isFolder: boolean;
}

export function planPmem(config: PmemConfig, at: PlanContext<PmemFacts>): readonly Step[] {
  const { size, isFolder } = at.facts;
  // a private mapping of a file that is open for reading only: writes stay in memory and are lost
  const discards = config.discard_writes && !isFolder ? { share: false, readonly: true, rom: 'off' } : {};
  return [
    {
      kind: 'object',
      props: {
        'qom-type': 'memory-backend-file',
        id: `${at.qemuId}.ram`,
        'mem-path': config.file,
        size,
        share: true,
        merge: config.mergeable,
        ...discards,
      },
    },
    { kind: 'device', props: { driver: 'virtio-pmem-pci', ...onBus(at), memdev: `${at.qemuId}.ram` } },
  ];
}
