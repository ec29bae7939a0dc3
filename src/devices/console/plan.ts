import type { Step, ChardevBackend } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onBus } from '../common/pci.ts';
import type { ConsoleConfig } from './config.ts';

/** Returns QEMU's back-end of a console: a PTY, the terminal and a socket are behind a channel to the VMM. */
export function consoleBackend(
  { mode, file }: Pick<ConsoleConfig, 'mode' | 'file'>,
  { waits = false } = {},
): ChardevBackend {
  if (mode === 'Pty' || mode === 'Tty' || mode === 'Socket') return { type: 'channel', waits };
  return mode === 'File' && file !== undefined ? { type: 'file', path: file } : { type: 'null' };
}

/** Plans the virtio console: a serial bus with one port. */
export function planConsole(config: ConsoleConfig, at: PlanContext): readonly Step[] {
  return [
    { kind: 'chardev', id: at.qemuId, backend: consoleBackend(config, { waits: true }) },
    { kind: 'device', props: { driver: 'virtio-serial-pci', ...onBus(at), max_ports: 1 } },
    { kind: 'device', props: { driver: 'virtconsole', chardev: at.qemuId, bus: `${at.qemuId}.0` } },
  ];
}
