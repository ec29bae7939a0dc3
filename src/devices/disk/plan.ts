import type { PlanContext } from '../device.ts';
import { imageProperties, imageSteps, type ImageFacts } from './image.ts';
import { planQueueThreads } from './queue-threads.ts';
import { onBus } from '../common/pci.ts';
import type { SharedLimits } from '../common/throttle-group.ts';
import type { Step } from '../common/step.ts';
import { planThrottle } from './throttle.ts';
import type { BackEndFacts } from '../common/vhost-user.ts';
import { planVhostUserDisk } from './vhost-user.ts';
import type { DiskConfig } from './config.ts';

/** Host facts of a disk. */
export interface DiskFacts extends ImageFacts {
  readonly shared?: SharedLimits | undefined;
}

/** Plans a disk: its image with its limits and threads, or its connection to a vhost-user back-end. */
export function planDisk(
  config: DiskConfig,
  { facts, ...at }: PlanContext<DiskFacts | BackEndFacts>,
): readonly Step[] {
  return 'frontEnd' in facts
    ? planVhostUserDisk(config, { ...at, facts })
    : planImageDisk(config, { ...at, facts });
}

function planImageDisk(config: DiskConfig, at: PlanContext<DiskFacts>): readonly Step[] {
  const throttle = planThrottle(at.qemuId, config, at.facts.shared);
  const threads = planQueueThreads(at.qemuId, config);
  return [
    ...threads.steps,
    ...imageSteps(at.qemuId, config, at.facts),
    ...throttle.steps,
    {
      kind: 'device',
      props: {
        driver: 'virtio-blk-pci',
        // I/O errors are reported to the guest; QEMU's default stops the guest when the host's disk is full
        werror: 'report',
        rerror: 'report',
        ...onBus(at),
        drive: throttle.top,
        serial: config.serial ?? at.facts.serial,
        'num-queues': config.num_queues,
        'queue-size': config.queue_size,
        'write-cache': 'on',
        ...imageProperties(config, at.facts),
        ...threads.props,
      },
    },
  ];
}
