import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onBusByBackend } from '../common/pci.ts';
import type { VsockConfig } from './config.ts';

/** The host's side of the device, which runs before QEMU does. */
export interface VsockFacts {
  /** QEMU's end of the vhost-user connection */
  readonly frontEnd: number;
}

/** Plans a vsock device whose back-end is a thread of the VMM. */
export function planVsock(_config: VsockConfig, at: PlanContext<VsockFacts>): readonly Step[] {
  return [
    {
      kind: 'chardev',
      id: `${at.qemuId}.host`,
      backend: { type: 'descriptor', fd: at.facts.frontEnd, server: false },
    },
    {
      kind: 'device',
      props: {
        driver: 'vhost-user-vsock-pci',
        ...onBusByBackend(at),
        // the configuration's and one for each queue; with fewer, Linux looks through all queues for each interrupt
        vectors: 4,
        chardev: `${at.qemuId}.host`,
      },
    },
  ];
}
