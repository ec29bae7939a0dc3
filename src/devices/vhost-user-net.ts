import type { Step } from './step.ts';

/** What counts where another process serves a network. */
interface VhostUserNet {
  readonly vhost_socket?: string | undefined;
  readonly vhost_mode: 'Client' | 'Server';
}

/** The back-end of a network that another process serves. */
export function planVhostUserNet(
  { vhost_socket: path = '', vhost_mode: mode }: VhostUserNet,
  { id, pairs }: { readonly id: string; readonly pairs: number },
): readonly Step[] {
  const chardev = `${id}.socket`;
  return [
    { kind: 'chardev', id: chardev, backend: { type: 'socket', path, server: mode === 'Server' } },
    { kind: 'netdev', props: { type: 'vhost-user', id, chardev, queues: pairs } },
  ];
}
