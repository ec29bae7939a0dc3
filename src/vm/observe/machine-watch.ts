import type { Placement } from '../../plan/placement.ts';
import type { QmpEvent } from '../../qemu/qmp/events.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { watchDrivers } from './driver-watch.ts';
import { deviceRemoved, vmEventOf, type OnVmEvent } from '../events.ts';
import { noteEjected } from '../hotplug/ejected.ts';
import { noteVcpuEjected } from '../hotplug/vcpu-release.ts';
import { PANIC } from '../guest-exit/outcome.ts';
import type { Machine } from '../machine.ts';

const log = createLog('vm');

/** Callbacks for the events of a running machine. */
export interface MachineWatch {
  readonly emit: OnVmEvent;
  /** emits `activated` and `reset` of virtio devices, whose trace costs QEMU time */
  readonly watchesDrivers: boolean;
  /** Called when the guest has ejected devices: see `releaseEjected`. */
  readonly onEjected: () => void;
  /** Removes a device that the machine no longer has from the VM's configuration. */
  readonly removeFromConfig: (placement: Placement) => void;
  /** Called when the guest's kernel has panicked, with the vCPUs stopped; undefined: the guest continues after a panic. */
  readonly onPanic: (() => void) | undefined;
}

/** Watches a machine's events until QEMU exits. Resolves once `activated` is emitted for the devices that have a driver already. */
export async function watchMachine(
  machine: Machine,
  { emit, watchesDrivers, onEjected, removeFromConfig, onPanic }: MachineWatch,
): Promise<void> {
  const drivers = watchesDrivers ? watchDrivers(machine, emit, machine.activeDrivers) : undefined;
  machine.onDetached = (placement) => {
    drivers?.detached(placement.id);
    removeFromConfig(placement);
    emit(deviceRemoved(placement));
  };
  machine.qemu.onEvent((message) => {
    if (message.event === 'DEVICE_DELETED' && noteEjected(machine, message.data.device)) onEjected();
    noteVcpuEjected(machine, message);
    // a guest may panic any number of times
    const isFirst = machine.guestFailure === undefined;
    machine.guestFailure = failureOf(message) ?? machine.guestFailure;
    if (isFirst && message.event === 'GUEST_PANICKED') onPanic?.();
    const own = vmEventOf(message, machine.layout.placements);
    if (own !== undefined) emit(own);
  });
  if (onPanic !== undefined) stopAtPanic(machine);
  await drivers?.started;
}

function failureOf({ event }: QmpEvent): string | undefined {
  switch (event) {
    case 'GUEST_PANICKED':
      return PANIC;
    case 'WATCHDOG':
      return 'the guest no longer fed its watchdog';
    default:
      return undefined;
  }
}

/** Sets QEMU to stop the vCPUs at a panic, until `--on-panic` is carried out. */
function stopAtPanic({ qemu, config }: Machine): void {
  if (!config.pvpanic)
    log.warn('--on-panic: a panic is not seen, as the VM has no pvpanic device (--pvpanic)');
  qemu.qmp.execute('set-action', { panic: 'pause' }).catch((error: unknown) => {
    log.warn(`a guest that panics is not stopped: ${reasonOf(error)}`);
  });
}
