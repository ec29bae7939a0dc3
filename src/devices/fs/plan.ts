import type { PlanContext } from '../device.ts';
import type { BackEndFacts } from '../common/vhost-user.ts';
import { onSlot } from '../common/pci.ts';
import type { Step } from '../common/step.ts';
import type { FsConfig } from './config.ts';

/** Plans a file system. QEMU has no window for `dax`: guests mount without it. */
export function planFs(config: FsConfig, at: PlanContext<BackEndFacts>): readonly Step[] {
  const chardev = `${at.qemuId}.socket`;
  return [
    { kind: 'chardev', id: chardev, backend: { type: 'socket', path: at.facts.frontEnd } },
    {
      kind: 'device',
      props: {
        driver: 'vhost-user-fs-pci',
        ...onSlot(at),
        chardev,
        tag: config.tag,
        'num-request-queues': config.num_queues,
        'queue-size': config.queue_size,
      },
    },
  ];
}
