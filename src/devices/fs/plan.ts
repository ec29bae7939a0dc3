import type { PlanContext } from '../device.ts';
import { onSlot } from '../common/pci.ts';
import type { Step } from '../common/step.ts';
import type { FsConfig } from './config.ts';

/** Host facts of a file system. */
export interface FsFacts {
  /** path of the socket at which the VMM connects the daemon to QEMU, or QEMU's end of the connection to a thread of the VMM */
  readonly frontEnd: string | number;
}

/** Plans a file system. QEMU has no window for `dax`: guests mount without it. */
export function planFs(config: FsConfig, at: PlanContext<FsFacts>): readonly Step[] {
  const { frontEnd } = at.facts;
  const chardev = `${at.qemuId}.${typeof frontEnd === 'number' ? 'host' : 'socket'}`;
  return [
    {
      kind: 'chardev',
      id: chardev,
      backend:
        typeof frontEnd === 'number'
          ? { type: 'descriptor', fd: frontEnd, server: false }
          : { type: 'socket', path: frontEnd },
    },
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
