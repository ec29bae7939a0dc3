import type { Step } from '../common/step.ts';

interface Place {
  readonly id: string;
  readonly pairs: number;
  /** path of the socket at which the VMM connects the back-end to QEMU */
  readonly frontEnd: string;
}

/** Plans the network back-end of a vhost-user device. */
export function planVhostUserNet({ id, pairs, frontEnd }: Place): readonly Step[] {
  const chardev = `${id}.socket`;
  return [
    { kind: 'chardev', id: chardev, backend: { type: 'socket', path: frontEnd } },
    { kind: 'netdev', props: { type: 'vhost-user', id, chardev, queues: pairs } },
  ];
}
