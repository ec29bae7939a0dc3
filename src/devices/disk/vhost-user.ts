import type { PlanContext } from '../device.ts';
import { onBusByBackend } from '../common/pci.ts';
import type { BackEndFacts } from '../common/vhost-user.ts';
import type { Step } from '../common/step.ts';

/** Members of a disk's configuration that apply to a vhost-user disk; the back-end decides the rest. */
interface VhostUserDisk {
  readonly num_queues: number;
  readonly queue_size: number;
}

/** Plans a disk that a vhost-user-blk back-end serves. */
export function planVhostUserDisk(config: VhostUserDisk, at: PlanContext<BackEndFacts>): readonly Step[] {
  const chardev = `${at.qemuId}.socket`;
  return [
    { kind: 'chardev', id: chardev, backend: { type: 'socket', path: at.facts.frontEnd } },
    {
      kind: 'device',
      props: {
        driver: 'vhost-user-blk-pci',
        ...onBusByBackend(at),
        chardev,
        'num-queues': config.num_queues,
        'queue-size': config.queue_size,
      },
    },
  ];
}
