import type { Step } from '../common/step.ts';
import { consoleBackend } from '../console/plan.ts';
import type { PlanContext } from '../device.ts';
import type { DebugConsoleConfig } from './config.ts';

/** Plans the debug port. */
export function planDebugConsole(config: DebugConsoleConfig, at: PlanContext): readonly Step[] {
  return [
    { kind: 'chardev', id: at.qemuId, backend: consoleBackend(config) },
    { kind: 'device', props: { driver: 'isa-debugcon', iobase: config.iobase, chardev: at.qemuId } },
  ];
}
