import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onBusByBackend } from '../common/pci.ts';
import type { VsockConfig } from './config.ts';

/** Host facts of a vsock device. */
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
        // one for the configuration and one for each queue; with fewer vectors Linux scans all queues at each interrupt
        vectors: 4,
        chardev: `${at.qemuId}.host`,
      },
    },
  ];
}
