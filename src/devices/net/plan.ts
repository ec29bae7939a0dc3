import type { PlanContext } from '../device.ts';
import { PortForward } from './port-forward.ts';
import { offloadProps } from './offloads.ts';
import { onBus, onBusByBackend } from '../common/pci.ts';
import type { Step } from '../common/step.ts';
import { userNetwork } from './user-network.ts';
import { planVhostUserNet } from './vhost-user.ts';
import type { NetConfig } from './config.ts';

/** Host facts of a network. */
export interface NetFacts {
  /** MAC address of the guest's interface */
  readonly mac: string;
  /** file descriptors of the TAP's queues; undefined if there is no TAP */
  readonly fds: readonly number[] | undefined;
  /** path of the socket at which the VMM connects a vhost-user back-end to QEMU; undefined if there is none */
  readonly frontEnd?: string | undefined;
  /** forwards of backend `user`, with the requested host ports */
  readonly forwards?: readonly PortForward[] | undefined;
}

/** Returns the number of pairs of a receiving and a sending queue; an odd queue is unused, as in Cloud Hypervisor. */
export function queuePairs({ num_queues: queues }: Pick<NetConfig, 'num_queues'>): number {
  return Math.floor(queues / 2);
}

export function planNet(config: NetConfig, at: PlanContext<NetFacts>): readonly Step[] {
  const pairs = queuePairs(config);
  return [
    ...planBackend(config, at),
    {
      kind: 'device',
      props: {
        driver: 'virtio-net-pci',
        ...(config.vhost_user ? onBusByBackend(at) : onBus(at)),
        netdev: at.qemuId,
        mac: at.facts.mac,
        ...(config.mtu === undefined ? {} : { host_mtu: config.mtu }),
        mq: pairs > 1,
        // one for each queue, the control queue, and changes of the configuration
        vectors: 2 * pairs + 2,
        rx_queue_size: config.queue_size,
        tx_queue_size: config.vhost_user ? config.queue_size : TAP_TX_QUEUE_SIZE,
        ...offloadProps(config),
        // the firmware does not boot from a network
        romfile: '',
      },
    },
  ];
}

/** Longest sending queue that QEMU accepts without a vhost-user back-end (hw/net/virtio-net.c). */
const TAP_TX_QUEUE_SIZE = 256;

function planBackend(config: NetConfig, { qemuId: id, facts }: PlanContext<NetFacts>): readonly Step[] {
  if (config.vhost_user) {
    return planVhostUserNet({ id, pairs: queuePairs(config), frontEnd: facts.frontEnd ?? '' });
  }
  if (config.backend === 'user') {
    const network = userNetwork({ ...config, forwards: facts.forwards });
    return [{ kind: 'netdev', props: { id, ...network } }];
  }
  return [{ kind: 'netdev', props: { type: 'tap', id }, fds: facts.fds ?? [] }];
}
