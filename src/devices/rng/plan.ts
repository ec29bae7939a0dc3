import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onBus } from '../common/pci.ts';
import type { RngConfig } from './config.ts';

/** Plans the entropy device and its source on the host. */
export function planRng(config: RngConfig, at: PlanContext): readonly Step[] {
  return [
    { kind: 'object', props: { 'qom-type': 'rng-random', id: `${at.qemuId}.src`, filename: config.src } },
    { kind: 'device', props: { driver: 'virtio-rng-pci', ...onBus(at), rng: `${at.qemuId}.src` } },
  ];
}
