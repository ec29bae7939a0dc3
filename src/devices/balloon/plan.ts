import type { Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onBus } from '../common/pci.ts';
import type { BalloonConfig } from './config.ts';

/** Plans a virtio-balloon device. QMP sets its size once the machine is created (`vm/observe/balloon.ts`). */
export function planBalloon(config: BalloonConfig, at: PlanContext): readonly Step[] {
  return [
    {
      kind: 'device',
      props: {
        driver: 'virtio-balloon-pci',
        ...onBus(at),
        'deflate-on-oom': config.deflate_on_oom,
        'free-page-reporting': config.free_page_reporting === true,
      },
    },
  ];
}
