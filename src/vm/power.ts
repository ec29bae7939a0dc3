import { ApiError } from '../api/errors.ts';
import type { Qmp } from '../qemu/qmp/connection.ts';
import { lifecycleEvent, type OnVmEvent } from './events.ts';
import { withExitReason } from './guest-exit/qemu-exit.ts';
import { restartReleaseTimes } from './hotplug/release-times.ts';
import { bootMachine } from './launch/boot.ts';
import type { Machine } from './machine.ts';
import { activateImages } from './machine-state/images.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import type { StateTransition } from './transitions.ts';
import type { BootedMachine, Vm } from './vm.ts';

/** Abort signals of an operation, and the receiver of its events. */
export interface PowerOptions {
  readonly signals: ShutdownSignals;
  readonly emit: OnVmEvent;
}

/** Boots a VM that is Created or Shutdown. Rejects with ApiError; the VM is unchanged then. */
export async function bootVm(vm: Vm, options: PowerOptions): Promise<Machine> {
  const { config, rawImages, variables } = vm;
  const booted = await bootMachine({ config, rawImages, variables, ...options });
  return enter(vm, booted, isDebugged(booted.machine) ? 'boot-stopped' : 'boot');
}

/**
 * Replaces the machine by a new one from the same configuration; the consoles stay open and keep their PTYs. With `startsPaused` the
 * vCPUs are stopped before their first instruction. After a failure the VM is Shutdown.
 */
export async function rebootVm(
  vm: Vm,
  { consoles, machine }: BootedMachine,
  { signals, emit, startsPaused }: PowerOptions & { readonly startsPaused: boolean },
): Promise<Machine> {
  // first, so that the exit of the old machine has no consequences
  vm.booted = undefined;
  try {
    await machine.end();
    emit(lifecycleEvent('shutdown'));
    const { config, rawImages, variables } = vm;
    const previous = { consoles, hostPorts: machine.hostPorts };
    const kept = { rawImages, variables };
    const booted = await bootMachine({ config, ...kept, signals, emit, startsPaused, previous });
    const isStopped = startsPaused || isDebugged(booted.machine);
    enter(vm, booted, isStopped ? 'reboot-stopped' : 'reboot');
    if (startsPaused) emit(lifecycleEvent('paused'));
    return booted.machine;
  } catch (error) {
    consoles[Symbol.dispose]();
    vm.change('shutdown');
    emit(lifecycleEvent('shutdown'));
    throw error;
  }
}

function enter(vm: Vm, booted: BootedMachine, transition: StateTransition): Machine {
  vm.change(transition);
  vm.config = booted.machine.config;
  vm.booted = booted;
  return booted.machine;
}

function isDebugged({ config }: Machine): boolean {
  return config.gdb === true;
}

/** Stops the vCPUs and the guest's clock. */
export async function pauseVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  emit(lifecycleEvent('pausing'));
  await qmpOf(vm)?.execute('stop');
  // with a debugger QEMU's event STOP has changed it
  if (vm.state !== 'Paused') vm.change('pause');
  emit(lifecycleEvent('paused'));
}

/** Starts the stopped vCPUs. Rejects with ApiError, e.g. naming a disk that another VM has opened for writing meanwhile. */
export async function resumeVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  emit(lifecycleEvent('resuming'));
  if (vm.booted !== undefined) await startVcpus(vm.booted.machine);
  // with a debugger QEMU's event RESUME has changed it
  if (vm.state !== 'Running') vm.change('resume');
  emit(lifecycleEvent('resumed'));
}

async function startVcpus(machine: Machine): Promise<void> {
  // a VM that was sent to another VMM has released the locks of its images
  await activateImages(machine);
  restartReleaseTimes(machine);
  await machine.qemu.qmp.execute('cont').catch((error: unknown) => {
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  });
}

/** Presses the ACPI power button; the guest decides how it reacts. */
export async function pressPowerButton(vm: Vm): Promise<void> {
  await qmpOf(vm)?.execute('system_powerdown');
}

/** Injects a non-maskable interrupt. */
export async function injectNmi(vm: Vm): Promise<void> {
  await qmpOf(vm)?.execute('inject-nmi');
}

/** Stops the machine of a booted VM; the configuration stays. Rejects if QEMU cannot be killed; the VM is Shutdown also then. */
export async function stopVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  const { booted } = vm;
  if (booted === undefined) return;
  vm.booted = undefined;
  try {
    await booted.machine.end();
  } finally {
    booted.consoles[Symbol.dispose]();
    vm.change('shutdown');
    emit(lifecycleEvent('shutdown'));
  }
}

/** Runs `act` on the machine of a booted VM. If QEMU exits meanwhile, the error has the reason of the exit. */
export async function withMachine<T>({ booted }: Vm, act: (booted: BootedMachine) => Promise<T>): Promise<T> {
  if (booted === undefined) throw new ApiError('wrong-state', 'The VM is not booted');
  return withExitReason(booted.machine.qemu, () => act(booted));
}

function qmpOf(vm: Vm): Qmp | undefined {
  return vm.booted?.machine.qemu.qmp;
}
