import { channelInsteadOf, type ChardevBackend, type OwnBackend, type Step } from '../common/step.ts';
import type { PlanContext } from '../device.ts';
import { onBus } from '../common/pci.ts';
import type { ConsoleConfig } from './config.ts';

type Mode = Pick<ConsoleConfig, 'mode' | 'file'>;

/**
 * Returns QEMU's back-end of the serial port. QEMU's own back-ends of the modes Null and File cost no switch to the VMM; the first viewer
 * replaces them by a channel.
 */
export function serialBackend(config: Mode): ChardevBackend {
  return ownBackend(config) ?? { type: 'channel', waits: false };
}

/** Returns QEMU's own back-end in the modes that need no bytes in the VMM. */
function ownBackend({ mode, file }: Mode): OwnBackend | undefined {
  if (mode === 'Null') return { type: 'ringbuf' };
  return mode === 'File' && file !== undefined ? { type: 'file', path: file } : undefined;
}

/**
 * Returns QEMU's back-end of hvc0: a channel in each mode, as QEMU cannot replace the back-end of a virtio console while the vCPUs are
 * stopped, and output would be lost while they run.
 */
function virtioBackend(config: Mode): ChardevBackend {
  const own = ownBackend(config);
  return own?.type === 'file' ? channelInsteadOf(own) : { type: 'channel', waits: true };
}

/** Returns QEMU's back-end of a port with a name, which has no viewers. QEMU keeps its output while its socket is full. */
function portBackend(config: Mode): ChardevBackend {
  const own = ownBackend(config) ?? { type: 'channel', waits: false };
  return own.type === 'ringbuf' ? { type: 'null' } : own;
}

/** Number of the port that takes the place of hvc0: QEMU keeps 0 for consoles. */
const PORT = 1;

/** Plans the virtio console: a serial bus with one port, hvc0 or one with a name. */
export function planConsole(config: ConsoleConfig, at: PlanContext): readonly Step[] {
  const { port: name } = config;
  const isPort = name !== undefined;
  const port = { chardev: at.qemuId, bus: `${at.qemuId}.0` };
  return [
    { kind: 'chardev', id: at.qemuId, backend: isPort ? portBackend(config) : virtioBackend(config) },
    {
      kind: 'device',
      props: { driver: 'virtio-serial-pci', ...onBus(at), max_ports: isPort ? PORT + 1 : 1 },
    },
    {
      kind: 'device',
      props: isPort
        ? { driver: 'virtserialport', ...port, nr: PORT, name }
        : { driver: 'virtconsole', ...port },
    },
  ];
}
