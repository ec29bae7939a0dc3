import { ApiError } from '../api/errors.ts';
import type { VmState } from '../api/replies.ts';
import { dialectOf, type Dialect } from '../config/dialect.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { Qmp } from '../qemu/qmp/connection.ts';
import { withAddresses } from './addresses.ts';
import { openConsoles, type Consoles } from './consoles.ts';
import { orEnd } from './guest-exit/qemu-exit.ts';
import { turn, type OnVmEvent } from './events.ts';
import { restartPatience } from './hotplug/patience.ts';
import { activateImages } from './machine-state/images.ts';
import { startMachine, type Machine, type StartOptions } from './launch/machine.ts';

/** What vm.create made and vm.delete takes away. */
export interface Vm {
  /** what the next boot starts from: it grows and shrinks with the machine, and keeps what boots found out */
  config: VmConfig;
  state: VmState;
  /** there while the VM is Running or Paused */
  live: Live | undefined;
  /** images that were attached as raw, by their identity: what a guest writes into one never makes it another format */
  readonly rawImages: Set<string>;
}

/** A machine that runs, and our ends of its consoles, which stay when another takes its place. */
export interface Live {
  readonly consoles: Consoles;
  readonly machine: Machine;
}

/** A VM that is configured and nothing more. */
export function createVm(config: VmConfig): Vm {
  return { config: withAddresses(config), state: 'Created', live: undefined, rawImages: new Set() };
}

/** Returns the dialect of the VM that there is. */
export function dialectOfVm(vm: Vm | undefined): Dialect | undefined {
  return vm === undefined ? undefined : dialectOf(vm.config);
}

/** Created or Shutdown to Running; a failure leaves the VM as it was. */
export async function bootVm(vm: Vm, options: StartOptions): Promise<Machine> {
  const consoles = await openConsoles(vm.config);
  try {
    const { rawImages } = vm;
    return enter(vm, {
      consoles,
      machine: await startMachine(vm.config, consoles, { ...options, rawImages }),
    });
  } catch (error) {
    consoles.dispose();
    throw error;
  }
}

/** A new machine from the same configuration behind the same PTYs; a failure leaves the VM Shutdown. */
export async function restartVm(
  vm: Vm,
  { consoles, machine }: Live,
  options: StartOptions,
): Promise<Machine> {
  // out of the way first: the end of the old machine is no surprise
  vm.live = undefined;
  try {
    await machine.end();
    options.emit(turn('shutdown'));
    const started = enter(vm, {
      consoles,
      machine: await startMachine(vm.config, consoles, {
        ...options,
        rawImages: vm.rawImages,
        hostPorts: machine.hostPorts,
      }),
    });
    if (options.holds === true) {
      vm.state = 'Paused';
      options.emit(turn('paused'));
    }
    return started;
  } catch (error) {
    consoles.dispose();
    vm.state = 'Shutdown';
    options.emit(turn('shutdown'));
    throw error;
  }
}

/** Stops the vCPUs and the guest's clock. */
export async function pauseVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  emit(turn('pausing'));
  await qmpOf(vm)?.execute('stop');
  vm.state = 'Paused';
  emit(turn('paused'));
}

/** Lets the vCPUs go on where they stopped. Rejects with ApiError, naming a disk that another VM has since opened for writing. */
export async function resumeVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  emit(turn('resuming'));
  if (vm.live !== undefined) await startVcpus(vm.live.machine);
  vm.state = 'Running';
  emit(turn('resumed'));
}

async function startVcpus(machine: Machine): Promise<void> {
  // a VM that was sent to another VMM has given its images up
  await activateImages(machine);
  restartPatience(machine);
  await machine.qemu.qmp.execute('cont').catch((error: unknown) => {
    throw new ApiError('failed', 'The vCPUs could not be started', { cause: error });
  });
}

/** Presses the ACPI power button; what happens is up to the guest. */
export async function pressPowerButton(vm: Vm): Promise<void> {
  await qmpOf(vm)?.execute('system_powerdown');
}

/** Interrupts the guest in a way that it cannot mask. */
export async function injectNmi(vm: Vm): Promise<void> {
  await qmpOf(vm)?.execute('inject-nmi');
}

/** Ends the machine, if there is one; the configuration stays. Rejects where QEMU cannot be ended; the VM is Shutdown then, too. */
export async function stopVm(vm: Vm, emit: OnVmEvent): Promise<void> {
  const { live } = vm;
  if (live === undefined) return;
  vm.live = undefined;
  try {
    await live.machine.end();
  } finally {
    live.consoles.dispose();
    vm.state = 'Shutdown';
    emit(turn('shutdown'));
  }
}

/** Does something to the machine that runs; the route's phases have seen to it that one does. */
export async function onLive<T>({ live }: Vm, act: (live: Live) => Promise<T>): Promise<T> {
  if (live === undefined) throw new ApiError('wrong-state', 'The VM is not booted');
  return orEnd(live.machine.qemu, () => act(live));
}

function enter(vm: Vm, live: Live): Machine {
  vm.config = live.machine.config;
  vm.live = live;
  // a guest that is debugged has not run yet
  vm.state = live.machine.config.gdb === true ? 'Paused' : 'Running';
  return live.machine;
}

function qmpOf(vm: Vm): Qmp | undefined {
  return vm.live?.machine.qemu.qmp;
}
