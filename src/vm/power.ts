import { ApiError } from '../api/errors.ts';
import type { Qmp } from '../qemu/qmp/connection.ts';
import { openConsoles } from './consoles.ts';
import { lifecycleEvent, type OnVmEvent } from './events.ts';
import { withExitReason } from './guest-exit/qemu-exit.ts';
import { restartPatience } from './hotplug/patience.ts';
import type { Machine } from './machine.ts';
import { startMachine, type StartOptions } from './launch/machine.ts';
import { activateImages } from './machine-state/images.ts';
import type { Live, Vm } from './vm.ts';

/** Boots a VM that is Created or Shutdown. Rejects with ApiError; the VM is unchanged then. */
export async function bootVm(vm: Vm, options: StartOptions): Promise<Machine> {
  const consoles = await openConsoles(vm.config);
  try {
    const { rawImages } = vm;
    const machine = await startMachine(vm.config, consoles, { ...options, rawImages });
    enter(vm, { consoles, machine }, isDebugged(machine) ? 'boot-stopped' : 'boot');
    return machine;
  } catch (error) {
    consoles.dispose();
    throw error;
  }
}

/** Replaces the machine by a new one from the same configuration, behind the same PTYs. A failure leaves the VM Shutdown. */
export async function restartVm(
  vm: Vm,
  { consoles, machine }: Live,
  options: StartOptions,
): Promise<Machine> {
  // first: the exit of the old machine is expected and has no consequences
  vm.live = undefined;
  try {
    await machine.end();
    options.emit(lifecycleEvent('shutdown'));
    const started = await startMachine(vm.config, consoles, {
      ...options,
      rawImages: vm.rawImages,
      hostPorts: machine.hostPorts,
    });
    const { holds = false, emit } = options;
    enter(vm, { consoles, machine: started }, holds || isDebugged(started) ? 'reboot-stopped' : 'reboot');
    if (holds) emit(lifecycleEvent('paused'));
    return started;
  } catch (error) {
    consoles.dispose();
    vm.change('shutdown');
    options.emit(lifecycleEvent('shutdown'));
    throw error;
  }
}

function enter(vm: Vm, live: Live, transition: Parameters<Vm['change']>[0]): void {
  vm.change(transition);
  vm.config = live.machine.config;
  vm.live = live;
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

/** Starts the vCPUs where they stopped. Rejects with ApiError, naming a disk that another VM has since opened for writing. */
export async function resumeVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  emit(lifecycleEvent('resuming'));
  if (vm.live !== undefined) await startVcpus(vm.live.machine);
  // with a debugger QEMU's event RESUME has changed it
  if (vm.state !== 'Running') vm.change('resume');
  emit(lifecycleEvent('resumed'));
}

async function startVcpus(machine: Machine): Promise<void> {
  // a VM that was sent to another VMM has released the locks of its images
  await activateImages(machine);
  restartPatience(machine);
  await machine.qemu.qmp.execute('cont').catch((error: unknown) => {
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  });
}

/** Presses the ACPI power button; the guest decides what follows. */
export async function pressPowerButton(vm: Vm): Promise<void> {
  await qmpOf(vm)?.execute('system_powerdown');
}

/** Injects a non-maskable interrupt. */
export async function injectNmi(vm: Vm): Promise<void> {
  await qmpOf(vm)?.execute('inject-nmi');
}

/** Ends the machine where there is one; the configuration stays. Where QEMU cannot be ended it rejects, and the VM is Shutdown, too. */
export async function stopVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  const { live } = vm;
  if (live === undefined) return;
  vm.live = undefined;
  try {
    await live.machine.end();
  } finally {
    live.consoles.dispose();
    vm.change('shutdown');
    emit(lifecycleEvent('shutdown'));
  }
}

/** Runs `act` on the machine of a booted VM. Where QEMU exits meanwhile, the error says so. */
export async function withMachine<T>({ live }: Vm, act: (live: Live) => Promise<T>): Promise<T> {
  if (live === undefined) throw new ApiError('wrong-state', 'The VM is not booted');
  return withExitReason(live.machine.qemu, () => act(live));
}

function qmpOf(vm: Vm): Qmp | undefined {
  return vm.live?.machine.qemu.qmp;
}
