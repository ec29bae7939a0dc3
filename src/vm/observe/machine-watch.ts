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
  /** whether `activated` and `reset` of virtio devices are among the events: seeing them costs QEMU something */
  readonly watchesDrivers: boolean;
  /** The guest has released devices: see `releaseEjected`. */
  readonly onEjected: () => void;
  /** Takes a device out of the VM's configuration, if it is still there: the machine has it no longer. */
  readonly forget: (placement: Placement) => void;
  /** The guest's kernel has panicked, and the machine stands still; undefined: the guest runs on. */
  readonly onPanic: (() => void) | undefined;
}

/** Follows a machine's events until its end. Resolves once the devices that have a driver already are told of. */
export async function watchMachine(
  machine: Machine,
  { emit, watchesDrivers, onEjected, forget, onPanic }: MachineWatch,
): Promise<void> {
  const drivers = watchesDrivers ? watchDrivers(machine, emit) : undefined;
  machine.onDetached = (placement) => {
    drivers?.gone(placement.id);
    forget(placement);
    emit(deviceRemoved(placement));
  };
  machine.qemu.onEvent((message) => {
    if (message.event === 'DEVICE_DELETED' && noteEjected(machine, message.data.device)) onEjected();
    noteVcpuEjected(machine, message);
    // a guest may say so again and again
    const isNews = machine.guestFailure === undefined;
    machine.guestFailure = troubleOf(message) ?? machine.guestFailure;
    if (isNews && message.event === 'GUEST_PANICKED') onPanic?.();
    const own = vmEventOf(message, machine.layout.placements);
    if (own !== undefined) emit(own);
  });
  if (onPanic !== undefined) stopAtPanic(machine);
  await drivers?.told;
}

function troubleOf({ event }: QmpEvent): string | undefined {
  switch (event) {
    case 'GUEST_PANICKED':
      return PANIC;
    case 'WATCHDOG':
      return 'the guest no longer fed its watchdog';
    default:
      return undefined;
  }
}

/** The guest is to do nothing more until it is decided what follows. */
function stopAtPanic({ qemu, config }: Machine): void {
  if (!config.pvpanic)
    log.warn('--on-panic: a panic is not seen, as the VM has no pvpanic device (--pvpanic)');
  qemu.qmp.execute('set-action', { panic: 'pause' }).catch((error: unknown) => {
    log.warn(`a guest that panics does not stand still: ${reasonOf(error)}`);
  });
}
