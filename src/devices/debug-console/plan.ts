import type { ChardevBackend, Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import type { DebugConsoleConfig } from './config.ts';

/** Plans the debug port. */
export function planDebugConsole(config: DebugConsoleConfig, at: PlanContext): readonly Step[] {
  return [
    { kind: 'chardev', id: at.qemuId, backend: debugBackend(config) },
    { kind: 'device', props: { driver: 'isa-debugcon', iobase: config.iobase, chardev: at.qemuId } },
  ];
}

/** Returns QEMU's back-end of the port: a PTY and the terminal are behind a channel to the VMM. */
function debugBackend({ mode, file }: DebugConsoleConfig): ChardevBackend {
  if (mode === 'Pty' || mode === 'Tty') return { type: 'channel', waits: false };
  return mode === 'File' && file !== undefined ? { type: 'file', path: file } : { type: 'null' };
}
